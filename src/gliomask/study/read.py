"""From the file that `gliomask study --config` names, or from none, to the study."""

from __future__ import annotations

from pathlib import Path

from gliomask.errors import FileFormatError, UsageError
from gliomask.files.yaml import read_yaml
from gliomask.study.config import StudyConfig, make_study
from gliomask.study.default import default_study


def read_study(file: Path | None) -> StudyConfig:
    """Returns the study that a YAML file declares, or, without one, the default: the paper's comparisons on every fold.

    Raises:
        UsageError: unreadable file, unknown field, value out of range, a name that stands twice or is missing; the
            message names the field.
        EngineUnavailableError: there is a file and PyYAML is not installed.
    """
    if file is None:
        return default_study()
    try:
        fields = read_yaml(file, "Reading or printing a study")
    except FileFormatError as error:
        raise UsageError(f"{error} Example: gliomask study --show-config.") from error
    if not isinstance(fields, dict):
        raise UsageError(
            f"{file}: a mapping of field names to values is needed; found {type(fields).__name__}. Example: gliomask "
            "study --show-config."
        )
    return make_study(fields, str(file))
