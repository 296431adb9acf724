"""What is left on disk after every epoch: enough to go on exactly as if nothing had happened.

A checkpoint is one `.npz` file of plain arrays, read without pickle: weights, optimiser state, best weights, and the history as JSON bytes.
The data of an epoch depend on the seed and the epoch's number alone, so nothing else has to be kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomask.errors import FileFormatError, UsageError
from gliomask.training.config import TrainConfig
from gliomask.training.npz import read_arrays, write_arrays

Arrays = list[npt.NDArray[Any]]

FREE_FIELDS = ("threads", "compiled", "epochs")
"""Fields of the configuration that a run may go on with other values of: they belong to the machine, or say when to stop."""

KINDS = ("weights", "optimiser", "best", "statistics")


@dataclass
class Checkpoint:
    """State after an epoch.

    Args:
        weights: the network's variables as the optimiser left them.
        optimiser: the optimiser's variables, moving averages included.
        best: the weights to keep: of the best validation loss, or the last (averaged) ones.
        history: one row per finished epoch.
        config: the configuration as JSON values; a run is only resumed with the same one.
        cases: ids of the training cases; likewise.
        backend: what Keras ran on; likewise, where it is known.
        statistics: moving averages of what the network has beside trained weights; empty where nothing is averaged.
    """

    weights: Arrays
    optimiser: Arrays
    best: Arrays
    history: list[dict[str, float]]
    config: dict[str, Any]
    cases: list[str] = field(default_factory=list)
    backend: str | None = None
    statistics: Arrays = field(default_factory=list)

    def refuse_other(self, path: Path, config: dict[str, Any], cases: list[str], backend: str) -> None:
        """Checks that the training which left this checkpoint at `path` is the one that would go on with it.

        Raises:
            UsageError: it had other values, other training cases, or another backend.
        """
        # A field that a later version added does by default what was done before.
        before = TrainConfig().model_dump(mode="json") | self.config
        changed = [name for name, value in config.items() if name not in FREE_FIELDS and before.get(name) != value]
        if changed:
            raise UsageError(f"{path} was made with other values of {', '.join(changed)}. Give the same ones, or another folder.")
        if self.cases != cases:
            raise UsageError(f"{path} was made with other training cases ({len(self.cases)}, now {len(cases)}). Give the same ones, or another folder.")
        if self.backend not in (None, backend):
            raise UsageError(f"{path} was made on {self.backend}, not {backend}. Give --backend {self.backend}, or another folder.")

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        arrays = {f"{kind}_{n:04d}": array for kind in KINDS for n, array in enumerate(getattr(self, kind))}
        notes = json.dumps({"history": self.history, "config": self.config, "cases": self.cases, "backend": self.backend}).encode()
        write_arrays(path, {"notes": np.frombuffer(notes, np.uint8), **arrays})

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads a checkpoint.

        Raises:
            FileFormatError: the file cannot be read or is no checkpoint.
        """
        arrays = read_arrays(path)
        try:
            notes = json.loads(arrays["notes"].tobytes())
            kinds = {kind: [arrays[name] for name in sorted(arrays) if name.startswith(kind)] for kind in KINDS}
            return cls(**kinds, history=notes["history"], config=notes["config"], cases=notes["cases"], backend=notes.get("backend"))
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: not a checkpoint ({error!r}). Start the training anew in another folder.") from error
