"""Keeping corrections: a folder of cases that `gliomask train --from MODEL` reads, with who changed what, when.

A case's folder holds the scans, the corrected label map (numbers of BraTS until 2021), its volumes and report, and
`<case>_correction.json`.
Only label maps that were changed get there, so that untouched predictions are never taken for a person's work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import numpy as np

from gliomask import __version__
from gliomask.arrays import LabelMap
from gliomask.errors import CaseError, GeometryError, GliomaskError, LabelError, LimitError, UsageError
from gliomask.files.atomic import NO_ROOM, flush_folder, make_folder, not_written, replacing, write_bytes
from gliomask.files.hashing import sha256_of
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import CaseFiles, read_case, read_label_map
from gliomask.labels import LABEL_NAMES, TUMOUR_LABELS, Label, convention
from gliomask.report.case_report import CaseReport, case_report
from gliomask.report.provenance import Corrected, InputFile, provenance
from gliomask.report.volumes import measure
from gliomask.results.correction import MAX_NAME, WRITTEN_AS, Changed, CorrectionRecord, ToolUse, correction_path
from gliomask.results.layout import CaseLayout
from gliomask.view.exams import Exam

OTHER_GRID = "The scans do not lie on the grid of the label map."


class Corrections:
    """The folder, and the label maps that may be corrected.

    Args:
        folder: of the corrections; made when the first is kept.
        overwrite: replace corrections that an earlier session left.
        tool: what the label maps are corrected with, for their records.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False, tool: str = "gliomask view") -> None:
        self.folder, self._overwrite, self._tool = folder, overwrite, f"{tool} {__version__}"
        self._ours: set[Path] = set()

    def refuse_existing(self, case_id: str) -> None:
        """Raises UsageError where a correction of the case exists that may not be replaced."""
        place = self.folder / case_id
        if place.exists() and place not in self._ours and not self._overwrite:
            raise UsageError(
                f"{place} exists. Move it away, name another folder with --corrections, or give --overwrite."
            )

    def keep(
        self, exam: Exam, labels: LabelMap, who: str, steps: Ordered[ToolUse] = (), when: datetime | None = None
    ) -> Path:
        """Keeps a correction and returns its folder: all of it or nothing. The same session may keep a case again.

        Args:
            exam: whose segmentation was corrected.
            labels: (I, J, K), values of `Label`, on the grid of the segmentation.
            who: corrected it.
            steps: with which tools.
            when: now, if None.

        Raises:
            UsageError: nobody is named, nothing was changed, or a correction exists.
            LabelError: the labels do not fit the segmentation.
            CaseError: the exam has no segmentation.
            LimitError: the disk is full.
        """
        who = _name(who)
        if exam.segmentation is None:
            raise CaseError(f"Case {exam.case_id}: there is no segmentation to correct.")
        before, geometry = read_label_map(exam.segmentation.path, exam.segmentation.labels)
        if labels.shape != before.shape or int(labels.max(initial=0)) > max(Label):
            raise LabelError(
                f"Case {exam.case_id}: the corrected label map does not fit its segmentation. Load the page again."
            )
        if np.array_equal(labels, before):
            raise UsageError("Nothing has been changed, so there is no correction to keep.")
        self.refuse_existing(exam.case_id)
        about = record_of(exam, before, labels, geometry, who, steps, when or datetime.now(UTC), self._tool)
        place = self.folder / exam.case_id
        self._write(place, exam, labels, geometry, about)
        self._ours.add(place)
        return place

    def stage(self, kept: Path, name: str) -> None:
        """Copies a correction that was kept in another folder, complete and hidden, for `settle` or `discard`.

        Args:
            kept: folder of one case.
            name: of this correction, told from all others; letters and digits.

        Raises:
            UsageError: the folder cannot be written.
            LimitError: the disk is full.
        """

        def fill(part: Path) -> None:
            for path in sorted(kept.iterdir()):
                with path.open("rb") as source, replacing(part / path.name) as target:
                    shutil.copyfileobj(source, target)

        self._whole(self._staged(name), fill)

    def settle(self, name: str, case_id: str) -> Path | None:
        """Gives a correction that was staged its place; an earlier one of the case stays until then.

        Args:
            name: of the correction.
            case_id: of the case.

        Returns:
            Its folder; None where none was staged, or it has its place already.

        Raises:
            UsageError: a correction of the case exists and may not be replaced, or the folder cannot be written.
        """
        staged = self._staged(name)
        if not staged.is_dir():
            return None
        self.refuse_existing(case_id)
        place = self.folder / case_id
        try:
            self._swap(staged, place)
        except OSError as error:
            raise not_written(place, error) from error
        self._ours.add(place)
        return place

    def discard(self, name: str) -> None:
        """Removes a correction that was staged; nothing where none was."""
        shutil.rmtree(self._staged(name), ignore_errors=True)

    def _staged(self, name: str) -> Path:
        return self.folder / f".gliomask-{name}.ready"

    def _write(self, place: Path, exam: Exam, labels: LabelMap, geometry: Geometry, about: CorrectionRecord) -> None:
        def fill(part: Path) -> None:
            _write_scans(exam.files, geometry, part)
            assert exam.segmentation is not None
            layout = CaseLayout.of(part, exam.case_id)
            header = nifti.read_volume(exam.segmentation.path).header
            nifti.write_volume(layout.label_map, convention(WRITTEN_AS).to_disk(labels), geometry, header)
            hashed = about.model_copy(update={"corrected_sha256": sha256_of(layout.label_map)})
            write_bytes(layout.volumes_tsv, measure(labels, geometry).to_tsv().encode())
            report = _report(exam, labels, geometry, hashed)
            if isinstance(report, str):
                hashed = hashed.model_copy(update={"no_report": report})
            else:
                write_bytes(layout.report("html"), report.content("html"))
            write_bytes(correction_path(layout.label_map), hashed.to_bytes())

        self._whole(place, fill)

    def _whole(self, place: Path, fill: Callable[[Path], None]) -> None:
        """Fills a hidden folder and gives it its place, in which an earlier correction stays until then."""
        make_folder(self.folder)
        part = self.folder / f".gliomask-{token_hex(8)}.part"
        try:
            make_folder(part)
            fill(part)
            flush_folder(part)
            self._swap(part, place)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise LimitError(
                    f"{place}: the disk is full. Make room and save again; the correction is still in the page."
                ) from error
            raise not_written(place, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _swap(self, part: Path, place: Path) -> None:
        """Puts a complete folder in its place."""
        old = self.folder / f".gliomask-{token_hex(8)}.old"
        try:
            if place.exists():
                place.rename(old)
            try:
                part.rename(place)
            except OSError:
                # What an earlier correction says must not go with `old`.
                if old.exists():
                    old.rename(place)
                raise
            flush_folder(self.folder)
        finally:
            shutil.rmtree(old, ignore_errors=True)


def record_of(
    exam: Exam,
    before: LabelMap,
    after: LabelMap,
    geometry: Geometry,
    who: str,
    steps: Ordered[ToolUse],
    when: datetime,
    tool: str,
) -> CorrectionRecord:
    """Returns who changed what, when; volumes in ml.

    Args:
        exam: whose segmentation was corrected.
        before: (I, J, K), values of `Label`.
        after: likewise.
        geometry: of both.
        who: corrected it.
        steps: with which tools.
        when: in UTC.
        tool: the program that the person used, with its version.
    """
    segmentation = exam.segmentation
    assert segmentation is not None
    pairs, counts = np.unique(4 * before.astype(np.uint8) + after, return_counts=True)
    moved = [
        (int(pair) >> 2, int(pair) & 3, int(count))
        for pair, count in zip(pairs, counts, strict=True)
        if pair >> 2 != pair & 3
    ]

    def volumes(labels: LabelMap) -> dict[str, float]:
        return {
            LABEL_NAMES[label]: round(int((labels == label).sum()) * geometry.voxel_ml, 3) for label in TUMOUR_LABELS
        }

    return CorrectionRecord.model_validate(
        {
            "case": exam.case_id,
            "who": who,
            "when": when,
            "tool": tool,
            "original": segmentation.path.name,
            "original_sha256": sha256_of(segmentation.path),
            "labels": WRITTEN_AS,
            "changed": [
                Changed.model_validate(
                    {
                        "from": LABEL_NAMES[one],
                        "to": LABEL_NAMES[other],
                        "voxels": voxels,
                        "ml": round(voxels * geometry.voxel_ml, 3),
                    }
                )
                for one, other, voxels in moved
            ],
            "volumes_before_ml": volumes(before),
            "volumes_after_ml": volumes(after),
            "steps": tuple(steps),
        }
    )


def _report(exam: Exam, labels: LabelMap, geometry: Geometry, about: CorrectionRecord) -> CaseReport | str:
    """The report of the corrected label map; where there can be none, a sentence that says why."""
    label_map = InputFile("label map", f"{exam.case_id}_seg.nii.gz", about.corrected_sha256)
    origin = provenance({} if exam.record is None else exam.record.as_read(), label_map)
    try:
        case = replace(read_case(exam.files), case_id=exam.case_id)
        if not case.geometry.same_grid(geometry):
            return OTHER_GRID
        return case_report(case, labels, origin.after(Corrected(about.who, about.when, about.changed_ml)))
    except GeometryError:
        return OTHER_GRID
    except GliomaskError:
        # What is wrong with the scans was said when they were segmented; here it may name folders.
        return "The scans cannot be measured."


def _name(who: str) -> str:
    who = who.strip()
    if not any(map(str.isalnum, who)) or not who.isprintable() or len(who) > MAX_NAME:
        # Signs alone name nobody, and DICOM takes some of them for what divides a name.
        raise UsageError(f"A correction needs the name of who made it, of 1 to {MAX_NAME} letters.")
    return who


def _write_scans(files: CaseFiles, geometry: Geometry, folder: Path) -> None:
    """Copies the scans under the names that training reads, where they lie on the label map's grid.

    Raw scans lie on grids of their own: training on them needs preprocessing first, so the label map is kept without
    them.
    """
    if files.channels is not None:
        stack = nifti.read_channels(files.channels)
        for n, sequence in enumerate(files.channel_order):
            if sequence not in files.without and stack.geometry.same_grid(geometry):
                path = folder / f"{files.case_id}_{sequence.value}.nii.gz"
                nifti.write_volume(path, np.ascontiguousarray(stack.values[..., n]), stack.geometry, stack.header)
        return
    sources = {sequence: files.sequences[sequence] for sequence in files.used()}
    if not all(nifti.read_volume(path).geometry.same_grid(geometry) for path in sources.values()):
        return
    for sequence, path in sources.items():
        ending = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
        shutil.copyfile(path, folder / f"{files.case_id}_{sequence.value}{ending}")
