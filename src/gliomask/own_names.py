"""Enumerations whose help shows their own names, without the hundred methods of the text or number that they are."""

from __future__ import annotations

from enum import EnumType


class OwnNames(EnumType):
    """Metaclass of enumerations that `dir` and `help` describe by their members and their own methods alone."""

    def __dir__(cls) -> list[str]:
        """Returns the names of members and of what the class itself defines."""
        return sorted({*cls.__members__, *(name for name in vars(cls) if not name.startswith("_")), "__doc__"})
