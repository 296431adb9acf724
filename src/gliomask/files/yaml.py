"""The one gate for YAML: configurations that others wrote, read bounded; PyYAML comes with the extra `train`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from gliomask.errors import EngineUnavailableError, FileFormatError
from gliomask.files.regular import read_text

MAX_YAML_BYTES = 1 << 20
"""Configurations have some kilobytes."""

MAX_DEPTH = 32
"""Levels of lists and mappings; configurations have four."""

MAX_EVENTS = 100_000
"""Scalars, and beginnings and ends of lists and mappings."""


def load_yaml_library(what: str) -> ModuleType:
    """Imports PyYAML; raises EngineUnavailableError, which says what needs it, where it is not installed."""
    try:
        import yaml
    except ImportError as error:
        raise EngineUnavailableError(f"{what} needs PyYAML. Run: pip install 'gliomask[train]'") from error
    return yaml


def read_yaml(path: Path, what: str = "Reading a configuration") -> Any:
    """Returns what a YAML file holds: plain values, lists and mappings.

    Aliases are refused: a few of them, each of the one before, stand for more values than memory holds.

    Args:
        path: the file.
        what: what is done, for the message where PyYAML is missing.

    Raises:
        EngineUnavailableError: PyYAML is not installed.
        FileFormatError: it cannot be read, is too large or too deep, or is no plain YAML.
    """
    yaml, text = load_yaml_library(what), read_text(path, MAX_YAML_BYTES, "YAML")
    try:
        _refuse_large(yaml, text)
        return yaml.load(text, Loader=_loader(yaml))
    except yaml.YAMLError as error:
        raise FileFormatError(f"{path}: cannot be read as YAML ({_one_line(error)}).") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        # What PyYAML's constructors let through: `!!int x`, dates that are none, keys that are lists.
        raise FileFormatError(
            f"{path}: cannot be read as YAML ({type(error).__name__}: {_one_line(error)})."
        ) from error


def _refuse_large(yaml: ModuleType, text: str) -> None:
    """Reads the events of a text, which takes no recursion, and refuses what would become too much."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it holds an alias (*); write the values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep or has more than {MAX_EVENTS:,} parts")


def _loader(yaml: ModuleType) -> Any:
    """A safe loader that refuses a key that stands twice; PyYAML takes the last in silence."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = (
                [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
                if isinstance(node, yaml.MappingNode)
                else []
            )
            twice = next((key for n, key in enumerate(keys) if key in keys[:n]), None) if len(keys) < MAX_KEYS else None
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' stands twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return Loader


MAX_KEYS = 1000
"""Of one mapping, up to which keys are held against each other."""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
