"""One path for every source: read, prepare where that is needed, segment. Nothing is written here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gliomask.case import Case
from gliomask.errors import GeometryError, UsageError
from gliomask.io import nifti
from gliomask.preprocess.raw.checks import has_skull
from gliomask.profiling import stage
from gliomask.progress import Progress, parts
from gliomask.segmentation.options import Options, from_names, transform_files
from gliomask.segmentation.outcome import asked_of
from gliomask.segmentation.result import Segmentation
from gliomask.segmentation.segmenter import Segmenter
from gliomask.segmentation.source import Before, Given, Headers, Scans, Source, open_source

if TYPE_CHECKING:
    from gliomask.preprocess.raw.interface import BrainExtraction, Registration

PREPARING_SHARE = 0.65
"""Of the time that a raw case takes, which bringing it to BraTS space does: about 10 s of 16 on two cores
(docs/raw.md); for the progress bar alone.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What does steps of native-space preprocessing in place of gliomask; None: gliomask does.

    Args:
        registration: brings the sequences to each other and into BraTS space.
        brain_extraction: finds the brain.
    """

    registration: Registration | None = None
    brain_extraction: BrainExtraction | None = None


NO_TOOLS = Tools()


def segment_source(
    segmenter: Segmenter,
    source: Source,
    *,
    before: Before = lambda name: None,
    progress: Progress = lambda done, total: None,
    headers: Headers | None = None,
    tools: Tools = NO_TOOLS,
) -> Segmentation:
    """Reads and segments one patient.

    Args:
        segmenter: the models, opened once; its options say when scans are brought to BraTS space first.
        source: what to segment.
        before: called with the name of the case before a scan is read; what it raises stops the work.
        progress: called as the brain is worked through.
        headers: called as DICOM headers are read.
        tools: what does steps of native-space preprocessing in place of gliomask.

    Raises:
        InputError: the scans cannot be read or segmented.
        QualityError: a registration or the brain mask cannot be believed.
        EngineUnavailableError: native-space preprocessing is needed, and the extra `raw` is not installed.
    """
    start = time.perf_counter()
    with stage("read"):
        scans = source.read(before, headers)
    if scans.words:
        _log.info("%s", scans.words)
    ready = (
        scans.prepared()
        if segmenter.options.raw == "never" or (segmenter.options.raw == "auto" and scans.straight)
        else None
    )
    if ready is None and segmenter.options.raw == "auto":
        case_or_reason = _prepared(scans)
        if isinstance(case_or_reason, Case):
            ready = case_or_reason
        else:
            _log.info(
                "%s: %s, so the scans are registered to BraTS space first (--raw never refuses such scans instead).",
                scans.case_id,
                case_or_reason,
            )
    seconds = {"read": round(time.perf_counter() - start, 3)}
    if ready is None:
        return _through_brats_space(segmenter, scans, seconds, progress, tools)
    _refuse_unused(scans.case_id, segmenter.options, tools)
    prediction = segmenter.run(ready, progress)
    return Segmentation(prediction, scans, asked_of(segmenter), seconds | prediction.seconds)


def _refuse_unused(case_id: str, options: Options, tools: Tools) -> None:
    """Refuses transforms, masks and tools where a case goes straight to the network: they would change nothing."""
    if options.files or tools != NO_TOOLS:
        raise UsageError(
            f"Case {case_id}: its scans go straight to the network, so transforms and brain masks (--transform, "
            "--brain-mask) would change nothing. Leave them out, or give --raw always."
        )


def _prepared(scans: Scans) -> Case | str:
    """The case, where the scans are as BraTS prepares them; otherwise why not."""
    try:
        case = scans.prepared()
    except GeometryError as error:
        if scans.same_grid:
            raise
        if not all(has_skull(scan.volume, scan.geometry) for scan in scans.examination().scans.values()):
            # Bare brains on two grids may be one wrong file among prepared ones: what is meant cannot be told.
            raise GeometryError(f"{error} Or, if they are scans on grids of their own, give --raw always.") from error
        return "the sequences lie on different grids, skull on"
    if all(has_skull(volume, case.geometry) for volume in case.volumes.values()):
        return "the skull is on"
    return case


def _through_brats_space(
    segmenter: Segmenter, scans: Scans, seconds: dict[str, float], progress: Progress, tools: Tools
) -> Segmentation:
    # Imported here: prepared scans need no optimiser, and that takes a tenth of a second to import.
    from gliomask.preprocess.raw.route import prepare_examination
    from gliomask.preprocess.raw.settings import PreparationSettings

    options = segmenter.options
    examination = scans.examination()
    tools, hashes = _with_files(options, tools)
    scans = replace(scans, hashes={**scans.hashes, **hashes})
    skip = frozenset(options.skip)
    settings = PreparationSettings(skip, tools.registration, tools.brain_extraction, scans.without, options.threads)
    prepared, segmented = parts(progress, (PREPARING_SHARE, 1 - PREPARING_SHARE))
    with segmenter.preparing, stage("prepare"):
        # From here on: waiting for another case is no preparing.
        start = time.perf_counter()
        registered = prepare_examination(examination, settings, prepared)
        seconds["prepare"] = round(time.perf_counter() - start, 3)
    prediction = segmenter.run(
        registered.case,
        segmented,
        preparation=registered.flags,
        to_scan=registered.matrices[registered.reference],
    )
    file = None if options.brain_mask is None else str(options.brain_mask)
    return Segmentation(prediction, scans, asked_of(segmenter), seconds | prediction.seconds, registered, file)


def _with_files(options: Options, tools: Tools) -> tuple[Tools, dict[str, str]]:
    """The tools, with files that the options name in their places; and the hashes of these files.

    Raises:
        UsageError: both are there.
    """
    from gliomask.io.transforms import read_transform
    from gliomask.preprocess.raw.interface import GivenMask, GivenTransforms, Transform

    hashes: dict[str, str] = {}
    if options.brain_mask is not None:
        if tools.brain_extraction is not None:
            raise UsageError("A brain mask and a tool that finds one do not go together. Give one of them.")
        mask = nifti.read_volume(options.brain_mask)
        hashes[str(options.brain_mask)] = mask.sha256
        given = GivenMask(np.asarray(mask.values != 0), mask.geometry, options.brain_mask.name)
        tools = replace(tools, brain_extraction=given)
    if options.transforms:
        if tools.registration is not None:
            raise UsageError("Transforms and a tool that finds some do not go together. Give one of them.")
        transforms = {}
        for sequence, target, path in transform_files(options.transforms):
            read = read_transform(path)
            hashes[str(path)] = read.sha256
            transforms[sequence] = Transform(target, read.matrix, path.name)
        tools = replace(tools, registration=GivenTransforms(transforms))
    return tools, hashes


def segment(
    source: Given,
    *,
    affine: npt.ArrayLike | None = None,
    without: Iterable[str] = (),
    series: Mapping[str, str | int] | None = None,
    registration: Registration | None = None,
    brain_extraction: BrainExtraction | None = None,
    progress: Progress = lambda done, total: None,
    **options: Any,
) -> Segmentation:
    """Segments one patient; all that the command `gliomask segment` can do, in memory.

    Args:
        source: a folder of one case (BraTS, Decathlon), a folder, zip or files of DICOM, a mapping from sequence names
            (flair, t1, t1ce, t2) to arrays (I, J, K), nibabel images or paths, a `Case` or an `Examination`; see
            `segmentation.source.open_source`.
        affine: (4, 4), voxel index to RAS millimetres, with arrays only. Without it axes are taken to be BraTS's:
            1 mm, I to the left, J to posterior, K to superior.
        without: names of sequences that the patient does not have; the model must be one that can do without.
        series: with DICOM, number or SeriesInstanceUID of the series to take, by sequence name.
        registration: what brings raw scans to each other and into BraTS space in place of gliomask, see
            `preprocess.raw.interface`; what it leaves out is registered here.
        brain_extraction: what finds the brain of raw scans in place of gliomask.
        progress: called with (parts of the brain done, parts in all).
        options: fields of `Options`, such as
            ``network="dense"``, ``postprocess="none"`` or ``raw="always"``. `network` is another word for `model`.

    Returns:
        The label map with labels 0 to 3, probabilities, volumes, flags; `save` writes the files.

    Raises:
        UsageError: an unknown option, a folder with several cases, or an argument that does not go with the source.
        InputError: the scans cannot be segmented; the message says why.
        ModelError: the model cannot be used.

    Examples:
        >>> result = gliomask.segment("patients/BraTS2021_00000")
        >>> result.label_map.shape == result.case.geometry.shape
        True
    """
    if "network" in options:
        named = options.pop("network")
        if options.setdefault("model", named) != named:
            raise UsageError(
                f"'network' is another word for 'model', and they differ: {named!r}, {options['model']!r}."
            )
    chosen: Options = from_names(Options, options)
    opened = open_source(source, affine=affine, without=without, series=series)
    with Segmenter(chosen) as segmenter:
        return segment_source(segmenter, opened, progress=progress, tools=Tools(registration, brain_extraction))
