"""What all parts of a model file share: how strictly they are read, and what is said where they do not hold."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gliomask.errors import ModelError
from gliomask.files.json import parse_json

Text = Annotated[str, Field(min_length=1)]


class StrictMapping(BaseModel):
    """A mapping in a model file. No field has a default: what is not said would have to be guessed."""

    # Strict: "2" is not the number 2. Numbers that are not finite have no place in a model file.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Schema = TypeVar("Schema", bound=BaseModel)


def parsed(schema: type[Schema], content: bytes, wrong: str, remedy: str) -> Schema:
    """Returns what JSON holds.

    Args:
        schema: what it must be.
        content: the JSON.
        wrong: how the message begins where it is not: which file, and what it should have been.
        remedy: how the message ends.

    Raises:
        ModelError: it is not JSON, or a field is missing, unknown or impossible; the message names up to five.
    """
    try:
        # By the gate first: it knows numbers that overflow, names that stand twice, and halves of characters.
        parse_json(content)
        return schema.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])
        raise ModelError(f"{wrong}: {problems}. {remedy}") from error
    except ValueError as error:
        raise ModelError(f"{wrong}: no JSON that can be read ({error}). {remedy}") from error
