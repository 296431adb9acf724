"""How the files of a case are called: one layout for prepared cases, cases with native-space preprocessing, and
reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gliomask.errors import UsageError
from gliomask.io import nifti
from gliomask.results.write import Place, recover, refuse_existing, refuse_inputs, refuse_unknown
from gliomask.sequences import PAPER_ORDER, Sequence, parse_sequence

FRAME = "brats"
"""What BraTS space is called in file names."""

REPORT_FORMATS = ("html", "pdf", "json")


@dataclass(frozen=True)
class CaseLayout:
    """Where the results of one case go.

    Args:
        label_map: the main result; the others are named after it.
    """

    label_map: Path

    @classmethod
    def of(cls, output: Path | str, case_id: str) -> CaseLayout:
        """`output` is a folder, or, when it ends in `.nii` or `.nii.gz`, the label map itself.

        Raises:
            UsageError: it is empty.
        """
        output = given_output(output)
        return cls(output if nifti.is_nifti_name(output) else output / f"{case_id}_seg.nii.gz")

    @property
    def folder(self) -> Path:
        """The folder that holds all of them."""
        return self.label_map.parent

    def beside(self, ending: str) -> Path:
        """The path of a result with another ending than the label map's `_seg.nii.gz`."""
        return self.label_map.with_name(nifti.stem(self.label_map).removesuffix("_seg") + ending)

    @property
    def probabilities(self) -> Path:
        """4-D float32: background, necrotic, oedema, enhancing."""
        return self.beside("_probabilities.nii.gz")

    @property
    def uncertainty(self) -> Path:
        """3-D float32: entropy of the labels, 0 to 1."""
        return self.beside("_uncertainty.nii.gz")

    @property
    def disagreement(self) -> Path:
        """3-D float32: how far the mirrored passes disagree, 0 to 1; with flips only."""
        return self.beside("_disagreement.nii.gz")

    @property
    def volumes_tsv(self) -> Path:
        """Volumes by label and region, as a table."""
        return self.beside("_volumes.tsv")

    @property
    def volumes_json(self) -> Path:
        """The same, for programs."""
        return self.beside("_volumes.json")

    @property
    def preview(self) -> Path:
        """The picture."""
        return self.beside("_preview.png")

    @property
    def record(self) -> Path:
        """The run record; written last, so a result with a record is complete."""
        return self.beside("_run.json")

    def label_map_in(self, space: str) -> Path:
        """A further label map of a raw case: in another sequence's grid or in BraTS space."""
        return self.beside(f"_space-{space}_seg.nii.gz")

    def mask_in(self, space: str) -> Path:
        """The brain mask of a raw case in a space."""
        return self.beside(f"_space-{space}_mask.nii.gz")

    def image(self, sequence: Sequence) -> Path:
        """A sequence of a raw case in BraTS space, skull off."""
        return self.beside(f"_space-{FRAME}_{sequence.value}.nii.gz")

    def defaced(self, sequence: Sequence) -> Path:
        """A sequence of a raw case in its own grid, face off."""
        return self.beside(f"_{sequence.value}_defaced.nii.gz")

    def defaced_in_frame(self, sequence: Sequence) -> Path:
        """A sequence of a raw case in BraTS space, face off, skull on."""
        return self.beside(f"_space-{FRAME}_{sequence.value}_defaced.nii.gz")

    @property
    def faces(self) -> Path:
        """The picture of the defaced sequences."""
        return self.beside("_defaced.png")

    def transform(self, sequence: Sequence) -> Path:
        """The transform that resamples a sequence of a raw case into BraTS space."""
        return self.beside(f"_from-{sequence.value}_to-{FRAME}.tfm")

    def report(self, form: str) -> Path:
        """A report, by format."""
        return self.beside(f"_report.{form}")

    def place(self, case_id: str) -> Place:
        """Where the results are written, and which names belong to this case."""
        owned = {PurePosixPath(path.name) for path in self.all()}
        return Place(self.folder, case_id, PurePosixPath(self.record.name), owned.__contains__)

    def within(self, folder: Path) -> CaseLayout:
        """The same names in another folder."""
        return CaseLayout(folder / self.label_map.name)

    def all(self) -> tuple[Path, ...]:
        """Every file that a case can leave; the record is the last."""
        return tuple(path for path, _ in self._all())

    def described(self) -> dict[Path, str]:
        """Every file that a case can leave, with what it holds in words; the record is the last."""
        return dict(self._all())

    def _all(self) -> Iterator[tuple[Path, str]]:
        yield self.label_map, "label map"
        yield self.preview, "picture"
        yield self.volumes_tsv, "volumes, as a table"
        yield self.volumes_json, "volumes, for programs"
        yield self.probabilities, "probability of each label"
        yield self.uncertainty, "how unsure the network is of each voxel"
        yield self.disagreement, "how far mirror images disagree"
        for space in (FRAME, *(sequence.value for sequence in PAPER_ORDER)):
            grid = "BraTS space" if space == FRAME else f"the grid of {parse_sequence(space).title}"
            yield self.label_map_in(space), f"label map in {grid}"
            yield self.mask_in(space), f"brain mask in {grid}"
        for sequence in PAPER_ORDER:
            yield self.image(sequence), f"{sequence.title} in BraTS space"
            yield self.defaced(sequence), f"{sequence.title} without the face"
            yield self.defaced_in_frame(sequence), f"{sequence.title} without the face, in BraTS space"
            yield self.transform(sequence), f"transform of {sequence.title} to BraTS space"
        yield self.faces, "picture of what is left of the face"
        yield from ((self.report(form), f"report, {form.upper()}") for form in REPORT_FORMATS)
        yield self.record, "run record: models, options, hashes"


def given_output(output: Path | str) -> Path:
    """Returns the path of an output folder or file.

    Raises:
        UsageError: it is empty: pathlib would take that for the working folder.
    """
    if not str(output).strip():
        raise UsageError("The output is empty. Name a folder for the results; the working folder is '.'.")
    return Path(output)


def report_formats(value: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the formats of a report, as they are typed, separated by commas, or as a list.

    Raises:
        UsageError: there is no such format, or a text names none.
    """
    parts = value.split(",") if isinstance(value, str) else value
    named = tuple(dict.fromkeys(part.strip().lower() for part in parts if part.strip()))
    unknown = [name for name in named if name not in REPORT_FORMATS]
    if unknown or (isinstance(value, str) and not named):
        raise UsageError(
            f"There is no report format '{', '.join(unknown)}'. Give one or more of {', '.join(REPORT_FORMATS)}, "
            "separated by commas."
        )
    return named


def refuse_results(layout: CaseLayout, case_id: str, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuses results that exist or would be written over what is read; finishes what a killed run had completed.

    Args:
        layout: where the results will lie.
        case_id: of the case.
        inputs: every file that is read.
        overwrite: replacing was asked for.

    Raises:
        UsageError: see `results.write.refuse_inputs`, `refuse_unknown` and `refuse_existing`.
    """
    refuse_inputs(layout.all(), inputs)
    recover(layout.place(case_id))
    refuse_unknown(layout.place(case_id), layout.label_map)
    refuse_existing(layout.all(), f"the results of case {case_id}", overwrite=overwrite)
