"""Kinds of values that several commands take, light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class WholeNumber(click.IntRange):
    """A whole number within limits; of what is none click would say that it is no `integer range`."""

    name = "integer"


class GivenPath(click.Path):
    """A path that is not empty: an empty one, as an unset variable of a script gives, would mean the working folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuses an empty path."""
        if not str(value).strip():
            self.fail("is empty. Give a path, or . for the working folder.", param, ctx)
        if "\0" in str(value):
            self.fail("holds a zero byte. Give another path.", param, ctx)
        return super().convert(value, param, ctx)
