"""What pydicom says about odd files, kept quiet: its warnings quote the values of tags, and those may be a patient's
name.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gliomask.errors import EngineUnavailableError


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silences warnings and the logs of pydicom and of the libraries that decode pixels, for as long as the `with`
    statement lasts.

    Raises:
        EngineUnavailableError: pydicom is not installed.
    """
    try:
        import pydicom.config
    except ImportError:
        raise EngineUnavailableError(
            "DICOM needs the extra 'dicom'. Install it: pip install 'gliomask[dicom]'."
        ) from None
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom", "pylibjpeg", "openjpeg")]
    levels = [logger.level for logger in loggers]
    mode = pydicom.config.settings.reading_validation_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            pydicom.config.settings.reading_validation_mode = mode
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
