"""What the server and the process that keeps a correction tell each other, as files in the correction's folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

CORRECTIONS = Path("corrections")
"""Folder of a job: one folder for each correction."""

SENT, ORDER, OUTCOME = "sent.json", "order.json", "outcome.json"
"""In the folder of a correction: what the page sent, what to do with it, how that ended."""

FILES = "files"
"""In the folder of a correction: what is given out."""


class CorrectionOrder(BaseModel):
    """What is to be done with a correction.

    Args:
        case: what the case is called in the correction and in folders for training: told from all others.
        training: folder that gets a copy for training, absolute; None for none.
    """

    model_config = ConfigDict(frozen=True)

    case: str
    training: Path | None = None
