"""What is left on disk after every epoch: enough to go on exactly as if nothing had happened.

A checkpoint is one `.npz` file of plain arrays, read without pickle: weights, optimiser state, best weights, and the
history as JSON bytes. The data of an epoch depend on the seed and the epoch's number alone, so nothing else has to be
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gliomask.errors import FileFormatError, UsageError
from gliomask.files.atomic import write_bytes
from gliomask.files.json import parse_json, to_json
from gliomask.files.npz import pack_npz, read_npz
from gliomask.training.config import TrainConfig

Arrays = list[npt.NDArray[Any]]

FREE_FIELDS = ("threads", "compiled", "epochs")
"""Fields of the configuration that a run may go on with other values of: they belong to the machine, or say when to
stop.
"""

MAX_CHECKPOINT_BYTES = 8 << 30
"""Of a network of 250 million parameters with the state of its optimiser and the weights to keep."""

KINDS = ("weights", "optimiser", "best", "statistics")


class _Notes(BaseModel):
    """What a checkpoint holds beside arrays."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    history: Annotated[list[dict[str, int | float]], Field(min_length=1)]
    config: dict[str, JsonValue]
    cases: list[str]
    backend: str | None = None


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
            raise UsageError(
                f"{path} was made with other values of {', '.join(changed)}. Give the same ones, or another folder."
            )
        if self.cases != cases:
            raise UsageError(
                f"{path} was made with other training cases ({len(self.cases)}, now {len(cases)}). Give the same "
                "ones, or another folder."
            )
        if self.backend not in (None, backend):
            raise UsageError(
                f"{path} was made on {self.backend}, not {backend}. Give --backend {self.backend}, or another folder."
            )

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        arrays = {f"{kind}_{n:04d}": array for kind in KINDS for n, array in enumerate(getattr(self, kind))}
        notes = to_json({"history": self.history, "config": self.config, "cases": self.cases, "backend": self.backend})
        write_bytes(path, pack_npz({"notes": np.frombuffer(notes, np.uint8), **arrays}))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads a checkpoint.

        Raises:
            FileFormatError: the file cannot be read or is no checkpoint.
        """
        remedy = "Start the training anew in another folder."
        try:
            arrays = read_npz(path, "a checkpoint", MAX_CHECKPOINT_BYTES)
            notes = _Notes.model_validate(parse_json(arrays["notes"].tobytes()))
        except FileFormatError as error:
            raise FileFormatError(f"{error} {remedy}") from error
        except KeyError as error:
            raise FileFormatError(f"{path}: not a checkpoint (it has no notes). {remedy}") from error
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
            raise FileFormatError(f"{path}: not a checkpoint ({problems}). {remedy}") from error
        except ValueError as error:
            raise FileFormatError(f"{path}: not a checkpoint ({error}). {remedy}") from error
        columns = {"epoch", "loss", "seconds", "waiting_share"} | (
            {"validation_loss"} if notes.config.get("validation_share") else set()
        )
        if any(columns - set(row) for row in notes.history):
            raise FileFormatError(
                f"{path}: not a checkpoint (a row of its history lacks one of {', '.join(sorted(columns))}). {remedy}"
            )
        kinds = {kind: [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}_")] for kind in KINDS}
        return cls(**kinds, history=notes.history, config=notes.config, cases=notes.cases, backend=notes.backend)

    def refuse_misfits(self, path: Path, shapes: Mapping[str, Ordered[tuple[int, ...]]]) -> None:
        """Checks that arrays are as many and of the shapes that this version of Keras has.

        Args:
            path: for the message.
            shapes: of each of `KINDS`; statistics may also be none.

        Raises:
            UsageError: they are not.
        """
        for kind, expected in shapes.items():
            own_shapes = [array.shape for array in getattr(self, kind)]
            if own_shapes != list(expected) and not (kind == "statistics" and not own_shapes):
                raise UsageError(
                    f"{path} does not fit this version of Keras (its {kind}). Go on with the version that made it, "
                    "or give another folder."
                )
