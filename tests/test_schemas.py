"""The JSON Schemas in docs/schemas are those of the code, and say of real files what the code says of them."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel

from gliomask.files.json_schema import json_schema, schema_text
from gliomask.models.registry import shipped_models
from gliomask.models.spec import ModelSpec, model_schema
from gliomask.results.record import RunRecord, record_schema

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/gliomask/models/shipped"


def schemas_by_name():
    spec = importlib.util.spec_from_file_location("write_schemas", ROOT / "scripts/write_schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SCHEMAS


@pytest.mark.parametrize("name", sorted(schemas_by_name()))
def test_the_schemas_in_the_documents_are_current(name):
    # If not: python scripts/write_schemas.py
    assert (ROOT / "docs/schemas" / name).read_text(encoding="utf-8") == schema_text(schemas_by_name()[name]())


def test_every_schema_in_the_documents_is_made_by_the_script():
    assert {path.name for path in (ROOT / "docs/schemas").glob("*.json")} == set(schemas_by_name())


@pytest.mark.parametrize("schema", [record_schema(), model_schema()], ids=["record", "model"])
def test_they_are_schemas(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_models_fit(name):
    folder = next(path.parent for path in SHIPPED.glob("*/model.json") if json.loads(path.read_text())["name"] == name)
    jsonschema.validate(json.loads((folder / "model.json").read_text(encoding="utf-8")), model_schema())


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"inputs": []},
        {"inputs": ["pet"]},
        {"halo": -1},
        {"golden_tolerance": 0},
        {"name": "With Space"},
        {"new": 1},
    ],
)
def test_what_the_code_refuses_of_a_model_the_schema_refuses(changes):
    path = next(SHIPPED.glob("*/model.json"))
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    with pytest.raises(ValueError, match=next(iter(changes))):
        ModelSpec.model_validate_json(json.dumps(values))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, model_schema())


def test_a_record_as_it_is_written_fits():
    record = RunRecord(
        command="segment",
        finished="2026-11-27T12:00:00+00:00",
        case="x",
        inputs={"x_t1.nii.gz": "0" * 64},
        model={"name": "m", "sha256": "s"},
        options={"engine": "openvino"},
        volumes={"labels": {}, "regions": {}},
        outputs={"x_seg.nii.gz": "1" * 64},
    )
    values = json.loads(record.to_bytes())
    jsonschema.validate(values, record_schema())
    for changes in ({"record_version": 3}, {"inputs": {"a": "no hash"}}, {"new": 1}, {"space": "pet"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | changes, record_schema())


def test_every_field_of_a_model_is_described():
    properties = model_schema()["properties"]
    assert [name for name in ModelSpec.model_fields if not properties[name].get("description")] == []


def test_docstrings_become_descriptions():
    class Part(BaseModel):
        """A part.

        Args:
            length_mm: how long, from one end
                to the other.
            name: of it.

        Raises:
            ValueError: never.
        """

        length_mm: float
        name: str

    schema = json_schema(Part, "part")
    assert schema["description"] == "A part."
    assert {name: field["description"] for name, field in schema["properties"].items()} == {
        "length_mm": "how long, from one end to the other.",
        "name": "of it.",
    }
