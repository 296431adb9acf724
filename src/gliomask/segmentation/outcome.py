"""What came of one patient, in memory: everything that is written, shown or recorded, whichever way the scans went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from gliomask.arrays import LabelMap, Mask, Probabilities
from gliomask.case import Case
from gliomask.errors import QualityError, UsageError
from gliomask.flag import Flag
from gliomask.geometry import Geometry
from gliomask.judgement import doubts_first
from gliomask.labels import Region
from gliomask.postprocess import CoreRule, Removed
from gliomask.processors import thread_count
from gliomask.quality import Cost, Estimate
from gliomask.report.volumes import Volumes, measure
from gliomask.results.layout import FRAME
from gliomask.segmentation.segmenter import Prediction, Segmenter
from gliomask.sequences import Sequence, parse_sequence

if TYPE_CHECKING:
    from gliomask.preprocess.raw.route import RawCase
    from gliomask.segmentation.source import Scans

Way = Literal["prepared", "native"]
"""Which way a case went: straight to the network, or through native-space preprocessing to BraTS space and back."""


@dataclass(frozen=True)
class Asked:
    """What a result was made with.

    Args:
        model: name and SHA-256 of the first model.
        second: of the second ensemble member, where one was to be asked.
        options: every option of the computation, in plain values, with the chain that was applied.
        threads: how many worked.
    """

    model: tuple[str, str]
    second: tuple[str, str] | None
    options: Mapping[str, Any]
    threads: int


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """What came of one patient.

    Args:
        prediction: what the networks found, in the grid in which they worked: the scans' own, or BraTS space.
        scans: what was read.
        asked: models and options.
        seconds: by stage, reading and preparing included.
        registered: the way from BraTS space to the scans; None where they were prepared.
        brain_mask_file: the mask that was given, as it was given; None where the brain was found.
    """

    prediction: Prediction
    scans: Scans
    asked: Asked
    seconds: Mapping[str, float]
    registered: RawCase | None = None
    brain_mask_file: str | None = None

    @property
    def case_id(self) -> str:
        """The name of the case."""
        return self.scans.case_id

    @property
    def case(self) -> Case:
        """The scans that the network saw: as they were given, or in BraTS space."""
        return self.prediction.case

    @property
    def way(self) -> Way:
        """Which way the case went."""
        return "prepared" if self.registered is None else "native"

    @property
    def space(self) -> Sequence | None:
        """The sequence in whose grid the label map lies; None where all share one grid."""
        return None if self.registered is None else self.registered.reference

    @property
    def geometry(self) -> Geometry:
        """The grid of `label_map`."""
        return (
            self.case.geometry
            if self.registered is None
            else self.registered.examination.scans[self.registered.reference].geometry
        )

    @cached_property
    def label_map(self) -> LabelMap:
        """(I, J, K) uint8 `Label` (0 background, 1 necrotic, 2 oedema, 3 enhancing), in the case's own grid.

        For scans that were brought to BraTS space that is the grid of the reference sequence, T1ce where there is one.
        On disk another convention applies.
        """
        return (
            self.prediction.label_map
            if self.registered is None
            else self.registered.label_map_in(self.registered.reference, self.prediction.label_map)
        )

    def label_map_in(self, space: Sequence | str) -> LabelMap:
        """Returns the label map in another grid: that of a sequence, or `brats`, BraTS space.

        Raises:
            UsageError: there is no such space.
        """
        if space == FRAME:
            return self.prediction.label_map
        sequence = parse_sequence(space)
        if self.registered is None:
            if sequence not in self.case.volumes:
                raise UsageError(f"Case {self.case_id} has no {sequence.value}, so there is no label map in its grid.")
            return self.label_map
        if sequence not in self.registered.matrices:
            raise UsageError(f"Case {self.case_id} has no {sequence.value}, so there is no label map in its grid.")
        return (
            self.label_map
            if sequence == self.space
            else self.registered.label_map_in(sequence, self.prediction.label_map)
        )

    @property
    def brain_mask(self) -> Mask:
        """(I, J, K), True where there is brain, in the grid of `label_map`."""
        return self.case.brain_mask if self.registered is None else self.registered.mask_in(self.registered.reference)

    @property
    def probabilities(self) -> Probabilities:
        """(I, J, K, 4) float32, one per label, before post-processing, in the grid of `case`."""
        return self.prediction.probabilities

    @cached_property
    def volumes(self) -> Volumes:
        """Of labels and regions, measured in the grid in which the label map is delivered."""
        return measure(self.label_map, self.geometry)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What looks wrong about the scans, their preparation or the result."""
        return self.prediction.flags

    @property
    def estimates(self) -> Mapping[Region, Estimate]:
        """The Dice to be expected of each region; empty where the models that were asked are not calibrated on such
        patients.
        """
        return self.prediction.estimates

    @property
    def expected_dice(self) -> Mapping[Region, float]:
        """What the networks expect of themselves, by region; see `gliomask.quality`."""
        return self.prediction.expected_dice

    @property
    def cost(self) -> Cost | None:
        """What it costs that the patient lacks sequences, where that was measured; None where none lack."""
        return self.prediction.cost

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that were asked: the ensemble's members in their order."""
        return self.prediction.models

    @property
    def core_rule(self) -> CoreRule | None:
        """The rule by which the core was widened; None where it was not."""
        return self.prediction.core_rule

    @property
    def removed_enhancement(self) -> Removed | None:
        """Unsure enhancement that is core instead; None where no such rule was asked."""
        return self.prediction.removed_enhancement

    def refuse_flagged(self) -> None:
        """Raises QualityError where a quality flag was raised; the gravest is told, the others are named."""
        first, *others = doubts_first(self.flags) or (None,)
        if first is not None:
            also = f" (Also flagged: {', '.join(flag.name for flag in others)}.)" if others else ""
            raise QualityError(
                f"Case {self.case_id}: {first.message}{also} Nothing was written, because --strict was given."
            )

    def __repr__(self) -> str:
        """The result in one line, without its voxels."""
        amounts = ", ".join(f"{region.value} {self.volumes.region_ml(region):.1f} ml" for region in Region)
        flags = ", ".join(flag.name for flag in self.flags) or "none"
        return f"{type(self).__name__}({self.case_id!r}, {self.way}, {amounts}, flags: {flags})"


def asked_of(segmenter: Segmenter) -> Asked:
    """Returns what a segmenter makes results with."""
    options = segmenter.options
    plain = {**asdict(options), "skip": list(options.skip), "postprocess": segmenter.chain}
    # A mask and transforms are one patient's, and count as inputs, by their hashes.
    del plain["brain_mask"], plain["transforms"]
    second = None if segmenter.second is None else (segmenter.second.model.spec.name, segmenter.second.model.sha256)
    return Asked((segmenter.model.spec.name, segmenter.model.sha256), second, plain, thread_count(options.threads))
