"""How native-space preprocessing is to be done, and what became of each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gliomask.arrays import short_repr
from gliomask.errors import UsageError
from gliomask.preprocess.raw.align import CERTAIN_GAIN
from gliomask.preprocess.raw.interface import BrainExtraction, Registration, refuse_unknown_steps
from gliomask.sequences import Sequence, parse_sequence


@dataclass(frozen=True, eq=False)
class PreparationSettings:
    """How to prepare.

    Args:
        skip: names of `interface.STEPS` to leave out: their work was done before.
        registration: what knows where sequences lie; None to register all of them here.
        brain_extraction: what finds the brain; None to find it here.
        without: sequences that the patient does not have.
        threads: how many sequences are worked on at a time; None for as many as there are processors.
    """

    skip: frozenset[str] = frozenset()
    registration: Registration | None = None
    brain_extraction: BrainExtraction | None = None
    without: frozenset[Sequence] = frozenset()
    threads: int | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads were asked for; at least 1 is needed.")
        refuse_unknown_steps(self.skip)


DEFAULT_PREPARATION = PreparationSettings()


@dataclass(frozen=True)
class PreparationStep:
    """What became of one step.

    Args:
        name: as in `interface.STEPS`.
        sequence: the one concerned, or an empty text.
        what: what was done, in words.
        measured: its measures.
    """

    name: str
    sequence: str
    what: str
    measured: Mapping[str, Any] = field(default_factory=dict)


ReportStep = Callable[[PreparationStep], None]
"""Called with each step as it is done."""


def describe(step: PreparationStep) -> str:
    """Returns what a step did, and whether it can be believed, as a line of text."""
    subject = (
        parse_sequence(step.sequence).title
        if step.sequence
        else {"mask": "Brain", "coregister": "Sequences"}.get(step.name, step.name)
    )
    volume_ml, gain = step.measured.get("volume_ml"), step.measured.get("gain_over_displaced")
    words = f"  {subject}: {step.what}"
    if isinstance(volume_ml, float):
        words += f", {volume_ml:,.0f} ml"
    if isinstance(gain, float):
        turned = f"turned by {step.measured['angle_degrees']:.1f} degrees, "
        words += f" ({turned}{'the fit is good' if gain >= CERTAIN_GAIN else 'the fit is weak: look at the picture'})"
    return f"{words}."


def measures(step: PreparationStep) -> str:
    """Returns the measures of a step as a line of text."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in step.measured.items() if value not in ([], None)
    )
