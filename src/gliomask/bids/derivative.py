"""The names, sidecars and tables of the derivative dataset: what each result of a segmentation is called in BIDS, and
what is said of it.

`gliomask segment` names its results after the case; here each of them becomes a file of BIDS, or, where BIDS has no
name for it, one that `.bidsignore` tells the validator of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gliomask.bids.layout import LABELS, Session
from gliomask.bids.names import BidsName
from gliomask.colours import PALETTE, in_hex
from gliomask.io.brats import CaseFiles
from gliomask.labels import Label, convention
from gliomask.results.layout import FRAME, CaseLayout
from gliomask.sequences import Sequence

SOURCE = "raw"
"""Name of the input dataset in BIDS URIs; `DatasetLinks` says where it is."""

SPACES: dict[str, str] = {
    Sequence.T1: "T1w",
    Sequence.T1CE: "T1ce",
    Sequence.T2: "T2w",
    Sequence.FLAIR: "FLAIR",
    FRAME: "SRI24",
}
"""Labels of `space-`, `from-` and `to-`: the grid of a sequence, or BraTS space, which is that of the SRI24 atlas."""

FRAME_REFERENCE = "https://www.nitrc.org/projects/sri24/"
"""The atlas of BraTS space (Rohlfing et al., Human Brain Mapping 2010, doi:10.1002/hbm.20906)."""

ABBREVIATIONS = {Label.BACKGROUND: "BG", Label.NECROTIC: "NCR", Label.OEDEMA: "ED", Label.ENHANCING: "ET"}
"""As BraTS abbreviates them."""

LESION = 7
"""Lesion, in BIDS's table of common image-derived labels (BIDS specification 1.10, "Imaging derivatives",
segmentations).
"""

VOLUME_COLUMNS: dict[str, dict[str, Any]] = {
    "kind": {
        "Description": "Whether the row is a label, of which each voxel has one, or a region, which is a "
        "sum of labels.",
        "Levels": {"label": "One label of the label map.", "region": "WT all labels, TC all but oedema, ET enhancing."},
    },
    "name": {"Description": "Label: necrotic, oedema or enhancing. Region: WT, TC or ET."},
    "title": {"Description": "The name in words."},
    "voxels": {"Description": "How many voxels."},
    "volume_ml": {"Description": "Volume.", "Units": "mL"},
    "volume_mm3": {"Description": "Volume.", "Units": "mm^3"},
}


@dataclass(frozen=True)
class Piece:
    """A file of the derivative dataset.

    Args:
        path: from the dataset's root.
        content: its bytes, or the file that holds them.
    """

    path: PurePosixPath
    content: bytes | Path


def uri(path: Path, root: Path) -> str:
    """The BIDS URI of a file of the input dataset."""
    return f"bids:{SOURCE}:{path.relative_to(root).as_posix()}"


def in_json(values: Any) -> bytes:
    """A sidecar's bytes."""
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def label_table() -> bytes:
    """`dseg.tsv` at the dataset's root, which holds for every label map below it; colours are those of the pictures."""
    rows = [
        "index\tname\tabbreviation\tcolor\tmapping",
        f"0\tbackground\t{ABBREVIATIONS[Label.BACKGROUND]}\t#000000\t0",
    ]
    codes = convention(LABELS).codes
    for label, colour in PALETTE.labels.items():
        rows.append(f"{codes[label]}\t{label.title}\t{ABBREVIATIONS[label]}\t{in_hex(colour)}\t{LESION}")
    return ("\n".join(rows) + "\n").encode()


@dataclass(frozen=True)
class Derivatives:
    """The files of one session in the derivative dataset.

    Args:
        session: whose.
        files: the scans.
        root: of the input dataset, for URIs.
        reference: the sequence in whose grid the label map is written; None for a case that came prepared, whose
            sequences share one grid.
    """

    session: Session
    files: CaseFiles
    root: Path
    reference: Sequence | None

    def pieces(self, results: CaseLayout) -> Iterator[Piece]:
        """Returns images, transforms and tables with their sidecars; of those that a segmentation may leave, those that
        it left.

        Args:
            results: as the segmentation left them.
        """
        yield from self._image(
            results.label_map,
            "dseg",
            None,
            "Labels of the tumour's parts; dseg.tsv says which is which.",
            {"Manual": False},
        )
        for space in SPACES:
            extra = {"Manual": False}
            yield from self._image(
                results.label_map_in(space),
                "dseg",
                space,
                "Labels of the tumour's parts; dseg.tsv says which is which.",
                extra,
            )
            mask_space = None if space == self.reference else space
            yield from self._image(
                results.mask_in(space), "mask", mask_space, "Brain mask.", {"Type": "Brain"}, desc="brain"
            )
        worked_in = None if self.reference is None else FRAME
        labels = {"LabelMap": list(ABBREVIATIONS.values())}
        yield from self._image(
            results.probabilities, "probseg", worked_in, "Probability of each label, before post-processing.", labels
        )
        yield from self._image(
            results.uncertainty,
            "uncertainty",
            worked_in,
            "Entropy of the labels' probabilities: 0 sure, 1 none is likelier.",
            {},
        )
        for sequence in self.files.used():
            yield from self._transform(results.transform(sequence), sequence)
        yield from self._volumes(results)

    @property
    def label_map_name(self) -> str:
        """What the label map is called."""
        return str(self._name("dseg", ".nii.gz"))

    def _name(self, suffix: str, extension: str, **entities: str) -> BidsName:
        return BidsName(self.session.entities | entities, suffix, extension)

    def _path(self, name: BidsName) -> PurePosixPath:
        return PurePosixPath(self.session.folder.as_posix()) / "anat" / str(name)

    def _sources(self) -> list[str]:
        return [uri(path, self.root) for path in self.files.paths()]

    def _spatial_reference(self, space: str | None) -> str:
        if space == FRAME:
            return FRAME_REFERENCE
        sequence = self.reference if space is None else Sequence(space)
        if sequence is None:
            sequence = next(shown for shown in (Sequence.T1CE, Sequence.FLAIR) if shown in self.files.used())
        return uri(self.files.sequences[sequence], self.root)

    def _image(
        self,
        source: Path,
        suffix: str,
        space: str | None,
        description: str,
        more: Mapping[str, Any],
        desc: str | None = None,
    ) -> Iterator[Piece]:
        if not source.is_file():
            return
        entities = ({} if space is None else {"space": SPACES[space]}) | ({} if desc is None else {"desc": desc})
        yield Piece(self._path(self._name(suffix, ".nii.gz", **entities)), source)
        where = " In BraTS space, 1 mm." if space == FRAME else ""
        fields = {
            "Description": description + where,
            "Sources": self._sources(),
            "SpatialReference": self._spatial_reference(space),
            **more,
        }
        yield Piece(self._path(self._name(suffix, ".json", **entities)), in_json(fields))

    def _transform(self, source: Path, sequence: Sequence) -> Iterator[Piece]:
        if not source.is_file():
            return
        entities = {"from": SPACES[sequence], "to": SPACES[FRAME], "mode": "image"}
        yield Piece(self._path(self._name("xfm", ".txt", **entities)), source)
        fields = {
            "Description": "ITK transform that resamples the image into the frame: it takes points of the frame to "
            "points of the image, LPS millimetres.",
            "Sources": [uri(self.files.sequences[sequence], self.root)],
            "SpatialReference": FRAME_REFERENCE,
        }
        yield Piece(self._path(self._name("xfm", ".json", **entities)), in_json(fields))

    def _volumes(self, results: CaseLayout) -> Iterator[Piece]:
        label_map = f"bids::{self._path(self._name('dseg', '.nii.gz'))}"
        fields = {
            "Description": "Volumes of the label map's labels and regions, on its grid.",
            "Sources": [label_map],
            **VOLUME_COLUMNS,
        }
        yield Piece(self._path(self._name("volumes", ".tsv")), results.volumes_tsv)
        yield Piece(self._path(self._name("volumes", ".json")), in_json(fields))
