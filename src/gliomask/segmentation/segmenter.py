"""The main job: a case and a model in, a label map in the case's own grid out. Arrays only: no path, no file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import numpy.typing as npt
from nibabel.affines import apply_affine

from gliomask import profiling
from gliomask.arrays import Affine, LabelMap, Probabilities, short_repr
from gliomask.case import Case
from gliomask.engines.precision import choose_precision
from gliomask.errors import CaseError, ModelError, UsageError
from gliomask.flag import Flag
from gliomask.judgement import (
    RemovedPart,
    doubtful,
    expectation_holds,
    nothing_found,
    part_removed,
    self_doubt,
    unpromised,
)
from gliomask.labels import REGION_NAMES, Label, Region
from gliomask.models.available import summaries
from gliomask.models.operations import work_per_pixel
from gliomask.models.registry import load_model
from gliomask.postprocess import CHAINS, CoreRule, Removed, decide, lost_parts, postprocess
from gliomask.predict.brain import NetworkShape, PatchPlan
from gliomask.predict.ensemble import consult
from gliomask.predict.flips import averaged_over_flips
from gliomask.predict.memory import slices_within
from gliomask.predict.planes import mean_of_planes, suspected_region, unsure
from gliomask.predict.sizes import Sizes
from gliomask.preprocess.channels import Prepared, prepare_on_demand
from gliomask.preprocess.checks import check_case, refuse_no_brain
from gliomask.profiling import resident_mb
from gliomask.progress import ALL, Progress, parts
from gliomask.quality import Calibration, Cost, Estimate, disagreement, expected_dice, region_share
from gliomask.segmentation.options import NO_OTHER, Options
from gliomask.sequences import Sequence

if TYPE_CHECKING:
    from gliomask.engines.base import Engine
    from gliomask.models.registry import Model
    from gliomask.planes import Plane
    from gliomask.predict.tiles import Predict

LOOK_SHARES = (0.2, 0.7, 0.1)
"""Of the time of the first network, what the first look, the planes and the whole brain take, which is seldom asked:
for the progress bar alone.
"""

SECOND_SHARE = 0.5
"""Time of the second ensemble member, as a share of the first network's: for the progress bar alone."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the networks found of a case, after post-processing, in the grid of the case.

    Args:
        case: what was segmented.
        label_map: (I, J, K) uint8 `labels.Label`.
        probabilities: (I, J, K, 4) float32, one per label, before post-processing.
        flags: what looks wrong about the input.
        seconds: time of each stage.
        postprocess: the chain that was applied.
        expected_dice: what the network expects of itself, by region; see `gliomask.quality`.
        estimates: what that is worth, where the models that were asked were calibrated on such patients; empty
            elsewhere.
        cost: what it costs that the patient lacks sequences, where that was measured; None where none lack.
        disagreement: (I, J, K) float32, how far the mirrored passes disagree, see `quality.disagreement`; None without
            flips.
        models: names of the models that were asked: the ensemble's members in their order.
        removed: separate parts of the network's answer that post-processing removed, the largest first.
        removed_enhancement: unsure enhancement that is core instead, see `postprocess.EnhancementRule`; None where the
            model has no such rule or it was not asked for.
        core_rule: the rule by which the core was widened, see `postprocess.CoreRule`; None where it was not.
        asked_over: where the first network was asked along its planes: `brain`, `suspected` for the part near what a
            first look suspects, or `again` for the whole brain, because that part left it unsure.
    """

    case: Case
    label_map: LabelMap
    probabilities: Probabilities
    flags: tuple[Flag, ...]
    seconds: dict[str, float]
    postprocess: str
    expected_dice: Mapping[Region, float]
    estimates: Mapping[Region, Estimate]
    cost: Cost | None = None
    disagreement: npt.NDArray[np.float32] | None = None
    models: tuple[str, ...] = ()
    core_rule: CoreRule | None = None
    removed_enhancement: Removed | None = None
    removed: tuple[RemovedPart, ...] = ()
    asked_over: Literal["brain", "suspected", "again"] = "brain"

    __repr__ = short_repr


class Stopwatch:
    """Seconds by stage, in the order of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Ends a stage that began when the last one ended."""
        now = time.perf_counter()
        self.seconds[stage] = round(self.seconds.get(stage, 0) + now - self._last, 3)
        self._last = now
        profile = profiling.current()
        if profile is not None:
            profile.lap(stage)


@dataclass(frozen=True, eq=False)
class Member:
    """A model with what it takes to run it.

    Args:
        model: loaded and checked.
        network: what it takes.
        plan: how slices are cut for it.
        engine: which has reproduced the golden pair.
    """

    model: Model
    network: NetworkShape
    plan: PatchPlan
    engine: Engine

    @classmethod
    def open(cls, model: Model, options: Options) -> Self:
        """Opens an engine for a model; an impossible plan is refused before that, not after scans have been read.

        Raises as `Segmenter` does.
        """
        spec = model.spec
        plan = PatchPlan(options.patches, options.patch_size, options.stride, spec.window)
        plan.grid((plan.size,) * (2 if spec.input_kind == "slices" else 3), spec.size_multiple)
        network = NetworkShape(spec.input_kind, spec.halo, spec.size_multiple, spec.neighbouring_slices)
        chosen = model.in_int8() if options.precision == "int8" else model
        return cls(chosen, network, plan, chosen.open(options.engine, options.threads))

    def cannot_do_without(self, missing: Iterable[Sequence]) -> list[Sequence]:
        """Returns which of these sequences the model needs, because it was not trained to do without them."""
        return sorted(set(missing).intersection(self.model.spec.inputs).difference(self.model.spec.may_miss))


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A label map with what was done to it.

    Args:
        label_map: (I, J, K), axes as the network's.
        removed: see `Prediction`.
        removed_enhancement: see `Prediction`.
        core_rule: see `Prediction`.
        known: True if the label map was made as those of the model's calibration.
    """

    label_map: LabelMap
    removed: tuple[RemovedPart, ...]
    removed_enhancement: Removed | None
    core_rule: CoreRule | None
    known: bool

    __repr__ = short_repr


@dataclass(eq=False)
class Segmenter:
    """A model that has been loaded and proved once, for as many cases as come, with the second member of its ensemble.

    Use it in a `with` statement.

    Raises:
        ModelError: a model is missing, altered, or does not reproduce its golden pair, or the second takes other input
            than the first.
        UsageError: an option names something that does not exist.
    """

    options: Options = field(default_factory=Options)
    preparing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held while raw scans are registered: two patients at once would take twice the memory."""

    def __post_init__(self) -> None:
        self.model: Model = load_model(self.options.model)
        self.chain = self.options.postprocess or self.model.spec.postprocess
        if self.chain not in CHAINS:
            raise UsageError(f"There is no post-processing '{self.chain}'. Known ones: {', '.join(CHAINS)}.")
        precision = choose_precision(self.options.precision, self.options.engine, offered=self.model.int8 is not None)
        self.options = replace(self.options, precision=precision)
        spec = self.model.spec
        named = self.options.ensemble_member or spec.second_opinion or NO_OTHER
        other = None if named == NO_OTHER else _second_member(named, self.model)
        self.first = Member.open(self.model, self.options)
        try:
            # The second may have no int8 graph where the first has: then it computes in float32.
            fallen = other is not None and other.int8 is None
            self.second = (
                None
                if other is None
                else Member.open(other, replace(self.options, precision="fp32" if fallen else precision))
            )
        except BaseException:
            self.first.engine.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the engines; a second call does nothing."""
        self.first.engine.close()
        if self.second is not None:
            self.second.engine.close()

    def run(
        self,
        case: Case,
        progress: Progress = lambda done, total: None,
        *,
        preparation: tuple[Flag, ...] = (),
        to_scan: Affine | None = None,
    ) -> Prediction:
        """Segments one case.

        Args:
            case: the scans.
            progress: called with (parts of the work of all networks and planes done, parts in all).
            preparation: what looks wrong about how the scans were prepared; told with the other flags.
            to_scan: (4, 4), from the world of the case to that of the grid in which the label map is delivered, RAS
                millimetres; None where both are one.

        Raises:
            CaseError: the case is without a sequence that the model needs.
        """
        self._refuse_missing(case)
        watch = Stopwatch()
        refuse_no_brain(case)
        flags = (*preparation, *check_case(case))
        watch.lap("check")
        prepared = prepare_on_demand(
            self._corrected(case), self.model.spec.inputs, self.model.spec.normalisation.method
        )
        watch.lap("normalise")
        doubts = np.zeros(prepared.brain.shape, np.float32) if self.options.flips else None
        second = None if self.second is None or self.second.cannot_do_without(case.without) else self.second
        first_share, second_share = parts(progress, (1.0, 0.0 if second is None else SECOND_SHARE))
        probabilities, asked_over = self._ask_first(prepared, doubts, watch, first_share)
        spread = None if doubts is None else disagreement(probabilities, doubts)
        if second is not None:
            self._ask_second(second, prepared, probabilities, second_share)
            watch.lap("ensemble member")
        # In a mean, what is tumour to all may be split between labels, each below background: so it is asked by region.
        averaged = second is not None or len(self._planes) > 1
        outputs = REGION_NAMES if averaged else self.model.spec.outputs
        labelled = self._label(probabilities, prepared, outputs, known=self._as_known(second, case), to_scan=to_scan)
        watch.lap("postprocess")
        expected = expected_dice(probabilities, labelled.label_map)
        calibration, cost = self._worth(labelled.known, second, case)
        estimates = {} if calibration is None or not expectation_holds(flags) else calibration.estimates(expected)
        watch.lap("quality")
        undo = prepared.reorientation.undo
        result = Prediction(
            case,
            undo(labelled.label_map),
            undo(probabilities),
            flags + self._judged(labelled, flags, estimates, expected),
            watch.seconds,
            self.chain,
            expected,
            estimates,
            cost,
            disagreement=None if spread is None else undo(spread),
            models=tuple(member.model.spec.name for member in (self.first, second) if member is not None),
            core_rule=labelled.core_rule,
            removed_enhancement=labelled.removed_enhancement,
            removed=labelled.removed,
            asked_over=asked_over,
        )
        watch.lap("to input grid")
        progress(ALL, ALL)
        return result

    def _label(
        self,
        probabilities: Probabilities,
        prepared: Prepared,
        outputs: tuple[str, ...],
        *,
        known: bool,
        to_scan: Affine | None,
    ) -> _Labelled:
        """Decides, post-processes, and applies the model's rules for core and enhancement."""
        spacing_mm = prepared.reorientation.target.spacing_mm
        raw = decide(probabilities, outputs)
        label_map = postprocess(raw, self.chain, spacing_mm)
        # Morphology may close a gap across air: what lies outside the brain is background whatever a chain does.
        label_map[~prepared.brain] = Label.BACKGROUND
        removed = _removed_parts(raw, label_map, prepared, to_scan)
        rule = self._core_rule(label_map) if known else None
        if rule is not None and not self.options.core_rule:
            # Then the core is not found as in the cases of the calibration.
            known, rule = False, None
        if rule is not None:
            label_map = rule.widen(label_map, region_share(probabilities, Region.TC))
        label_map, enhancement = self._confirm_enhancement(label_map, probabilities, prepared)
        return _Labelled(label_map, removed, enhancement, rule, known)

    def _judged(
        self,
        labelled: _Labelled,
        flags: tuple[Flag, ...],
        estimates: Mapping[Region, Estimate],
        expected: Mapping[Region, float],
    ) -> tuple[Flag, ...]:
        """Returns the flags of a result, given those of its scans."""
        doubts = unpromised(flags) or (doubtful(estimates) if estimates else self_doubt(expected))
        return nothing_found(labelled.label_map) + part_removed(labelled.removed, self.chain) + doubts

    def _ask_second(self, second: Member, prepared: Prepared, probabilities: Probabilities, progress: Progress) -> None:
        """Averages the second member's probabilities into the probabilities, in place."""
        plan = self._within_memory(second, prepared)
        predict, in_flight = self._predict(second), second.engine.in_flight
        consult(prepared, probabilities, second.network, plan, predict, in_flight, progress)

    def _within_memory(self, member: Member, prepared: Prepared) -> PatchPlan:
        """Returns the member's plan, with slabs as thin as the limit of memory asks for."""
        limit_mb, spec = self.options.max_memory_mb, member.model.spec
        if limit_mb is None:
            return member.plan
        work, held_mb = work_per_pixel(member.model.source.graph, spec.channels), resident_mb()
        if work is None or held_mb is None or spec.input_kind != "slices":
            raise UsageError(
                f"--max-memory cannot be held with model '{spec.name}' on this system: what it takes cannot be told "
                "beforehand. Leave it out."
            )
        slices = slices_within(limit_mb, held_mb, prepared.brain, member.network, work.live_bytes, spec.channels)
        return replace(member.plan, slices=slices)

    @property
    def _planes(self) -> tuple[Plane, ...]:
        """Planes along which the first network is asked, the axial one first."""
        return self.model.spec.planes[:1] if self.options.single_plane else self.model.spec.planes

    def _ask_first(
        self, prepared: Prepared, doubts: npt.NDArray[np.float32] | None, watch: Stopwatch, progress: Progress
    ) -> tuple[Probabilities, Literal["brain", "suspected", "again"]]:
        """Asks the first network along its planes: near what a first look suspects, and over the whole brain where that
        leaves it unsure.

        Returns:
            The probabilities, and where they were asked for: `brain`, `suspected`, or `again` for the whole brain after
                the suspected part.
        """
        member, sizes, plan, predict = (
            self.first,
            Sizes(),
            self._within_memory(self.first, prepared),
            self._predict(self.first),
        )

        def views(within: Prepared, moved: Progress) -> Probabilities:
            return mean_of_planes(
                within, self._planes, member.network, plan, predict, moved, doubts, member.engine.in_flight, sizes
            )

        # Patches keep the lattice of the whole slice, so the brain is not cut to what is suspected.
        if len(self._planes) == 1 or self.options.whole_brain or self.options.patches != "whole":
            probabilities = views(prepared, progress)
            watch.lap("network")
            return probabilities, "brain"
        looking, asking, again = parts(progress, LOOK_SHARES)
        region = suspected_region(prepared, member.network, plan, predict, looking, member.engine.in_flight, sizes)
        watch.lap("first look")
        probabilities = views(replace(prepared, brain=region), asking)
        watch.lap("network")
        if not unsure(probabilities):
            return probabilities, "suspected"
        del probabilities
        probabilities = views(prepared, again)
        watch.lap("whole brain")
        return probabilities, "again"

    def _confirm_enhancement(
        self, label_map: LabelMap, probabilities: Probabilities, prepared: Prepared
    ) -> tuple[LabelMap, Removed | None]:
        """Applies the model's rule for enhancement, where it has one and it is asked for."""
        numbers = self.model.spec.enhancement_rule
        if numbers is None or self.options.keep_uncertain_enhancement:
            return label_map, None
        return numbers.rule().confirm(
            label_map, region_share(probabilities, Region.ET), prepared.reorientation.target.spacing_mm
        )

    def _predict(self, member: Member) -> Predict:
        predict, spec, profile = member.engine.predict, member.model.spec, profiling.current()
        if profile is not None:
            work = work_per_pixel(member.model.source.graph, spec.channels)
            predict = profile.count(spec.name, predict, spec.channels, None if work is None else work.mac)
        return averaged_over_flips(predict) if self.options.flips else predict

    def _as_known(self, second: Member | None, case: Case) -> bool:
        """Returns True if this run matches the calibrated configuration: the networks, and no sequence missing.

        The model's `quality` and `core_rule` come from that configuration. For one network of two they would promise
        too much.
        """
        asked = None if second is None else second.model.spec.name
        return asked == self.model.spec.second_opinion and not self._missing(case)

    def _missing(self, case: Case) -> Set[Sequence]:
        return case.without.intersection(self.model.spec.inputs)

    def _core_rule(self, label_map: LabelMap) -> CoreRule | None:
        rule = None if self.model.spec.core_rule is None else self.model.spec.core_rule.rule()
        return rule if rule is not None and rule.applies(label_map) else None

    def _worth(self, known: bool, second: Member | None, case: Case) -> tuple[Calibration | None, Cost | None]:
        """How to read the doubts of the models that were asked, and what the missing sequences cost."""
        spec = self.model.spec
        if known:
            return (None if spec.quality is None else spec.quality.calibration()), None
        if second is None and spec.subsets is not None:
            return spec.subsets.calibration(self._missing(case)), spec.subsets.cost(self._missing(case))
        return None, None

    def _refuse_missing(self, case: Case) -> None:
        needed = self.first.cannot_do_without(case.without)
        if needed:
            name = self.model.spec.name
            raise CaseError(
                f"Case {case.case_id}: model '{name}' needs {', '.join(needed)}; it was not trained to do without. "
                f"{_other_models()}"
            )

    def _corrected(self, case: Case) -> Case:
        if not self.options.bias_correction:
            return case
        from gliomask.preprocess.n4 import correct_bias

        return correct_bias(case)


def _removed_parts(
    raw: LabelMap, label_map: LabelMap, prepared: Prepared, to_scan: Affine | None
) -> tuple[RemovedPart, ...]:
    """What post-processing took away whole, at its place in the world of the label map that is delivered; what lay
    outside the brain was never tumour.
    """
    grid = prepared.reorientation.target
    to_world = grid.affine if to_scan is None else to_scan @ grid.affine
    removed = lost_parts(np.where(prepared.brain, raw, np.uint8(Label.BACKGROUND)), label_map, grid.spacing_mm)
    parts = []
    for part in removed:
        x, y, z = (round(float(mm), 1) for mm in apply_affine(to_world, part.centre))
        parts.append(RemovedPart(part.voxels, round(part.volume_ml, 4), (x, y, z)))
    return tuple(parts)


def _second_member(name: str, first: Model) -> Model:
    """Loads the model that is asked as well, which must take what the first one takes."""
    other = load_model(name)
    for what, ours, theirs in (
        ("sequences", first.spec.inputs, other.spec.inputs),
        ("normalisation", first.spec.normalisation.method, other.spec.normalisation.method),
    ):
        if ours != theirs:
            raise ModelError(
                f"Model '{other.spec.name}' cannot be an ensemble member beside '{first.spec.name}': its {what}: "
                f"{_words(theirs)}, not {_words(ours)}. "
                "Choose another, or none, by --ensemble-member."
            )
    return other


def _words(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _other_models() -> str:
    able = [row.name for row in summaries() if row.may_miss]
    return f"Models that can do without: {', '.join(able)}." if able else "No shipped model can do without."
