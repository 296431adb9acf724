"""Writes the JSON Schemas of what gliomask writes into docs/schemas/. tests/test_schemas.py holds that they are
current.
"""

from pathlib import Path

from gliomask.bids.session_record import session_record_schema
from gliomask.files.json_schema import schema_text
from gliomask.models.spec import model_schema
from gliomask.results.correction import correction_schema
from gliomask.results.record import record_schema

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"

SCHEMAS = {
    "run-record.schema.json": record_schema,
    "model.schema.json": model_schema,
    "correction.schema.json": correction_schema,
    "bids-session-record.schema.json": session_record_schema,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in SCHEMAS.items():
        (FOLDER / name).write_text(schema_text(schema()), encoding="utf-8")
        print(FOLDER / name)
