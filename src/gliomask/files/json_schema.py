"""JSON Schemas of what is written, for other programs: made from the types that read and write it, so that they cannot
say anything else.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of a type; what its docstrings say under `Args` becomes the descriptions of its
    fields.

    Args:
        model: the type.
        title: what the schema is called.
    """
    schema = model.model_json_schema(mode="validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe(part)
    return {"$schema": DIALECT, **schema, "title": title}


def schema_text(schema: dict[str, Any]) -> str:
    """Returns a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _describe(part: dict[str, Any]) -> None:
    """Moves the descriptions of fields from the docstring of their class to the fields."""
    words, _, rest = inspect.cleandoc(part.get("description", "")).partition("\nArgs:\n")
    if not rest:
        return
    part["description"] = words.strip()
    properties = part.get("properties", {})
    fields, _, _ = rest.partition("\n\n")
    for match in re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", fields, re.MULTILINE):
        name, text = match.groups()
        if name in properties:
            properties[name].setdefault("description", " ".join(text.split()))
