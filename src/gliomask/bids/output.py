"""The derivative dataset as a whole: where it may lie, the files that describe it, and writing files into it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gliomask import __version__
from gliomask.bids.derivative import SOURCE, Piece, in_json, label_table
from gliomask.bids.layout import DESCRIPTION, Dataset, read_description
from gliomask.errors import FileFormatError, UsageError
from gliomask.io.nifti import make_folder, write_bytes
from gliomask.results.write import Place, held, write_case

NAME = "gliomask"
BIDS_VERSION = "1.10.0"

IGNORED = ("*.html", "*.pdf", "figures", "group_volumes.*", "*_volumes.*", "*_xfm.*", "*_uncertainty.*")
"""What BIDS 1.10 has no names for: reports, pictures, tables of volumes, transforms and maps of entropy."""

README = f"""# Glioma segmentations

Made by gliomask {__version__} as a BIDS App, from the dataset that `DatasetLinks` in `{DESCRIPTION}` names. Research
use only, not a medical device.

- `sub-*/[ses-*/]anat/*_dseg.nii.gz`: labels of the tumour's parts in the grid of the image that the sidecar names under
  `SpatialReference`; `dseg.tsv` says which number is what. With `space-SRI24`: the same in BraTS space.
- `*_volumes.tsv`: volumes of labels and regions, measured on the label map without `space-`.
- `*_desc-brain_mask.nii.gz`, `*_xfm.txt`: brain masks and transforms of scans that came with the skull on.
- `sub-*.html`, `sub-*.pdf`: reports for people. Look at them before you use a number.
- `logs/`: what was done to each session, and what failed.
- `group_volumes.tsv`, `group.html`: all participants, once the group level has run.
"""


def refuse_places(dataset: Path, output: Path, work: Path | None) -> None:
    """Refuses folders that would mix results with what they were made from.

    Raises:
        UsageError: results or intermediate ones would lie in the dataset (but in its `derivatives`), or the latter
            among the results.
    """
    source, target = dataset.resolve(), output.resolve()
    if target == source:
        raise UsageError(
            f"{output}: is the dataset itself. Results are a dataset of their own: give a folder such as "
            f"{dataset / 'derivatives' / NAME}."
        )
    inside = target.relative_to(source).parts if target.is_relative_to(source) else ()
    if inside and (inside[0] != "derivatives" or len(inside) < 2):
        raise UsageError(
            f"{output}: lies inside the dataset. Give a folder in its derivatives, such as "
            f"{dataset / 'derivatives' / NAME}, or one elsewhere."
        )
    if source.is_relative_to(target):
        raise UsageError(
            f"{output}: holds the dataset {dataset}, which would become a part of the results. Give a folder beside it."
        )
    for place, what in ((source, "dataset"), (target, "results")):
        if work is not None and work.resolve().is_relative_to(place):
            raise UsageError(
                f"{work}: the work folder lies inside the {what}, where its files have no BIDS names. Give "
                "one elsewhere."
            )


def refuse_other_dataset(output: Path) -> None:
    """Raises UsageError where the output folder holds a dataset that gliomask did not make."""
    if not (output / DESCRIPTION).exists():
        return
    try:
        made_by = read_description(output / DESCRIPTION).get("GeneratedBy")
    except FileFormatError as error:
        raise UsageError(f"{error} Or give another output folder.") from error
    names = [maker.get("Name") for maker in made_by if isinstance(maker, dict)] if isinstance(made_by, list) else []
    if NAME not in names:
        raise UsageError(
            f"{output}: holds a dataset that {NAME} did not make ({DESCRIPTION}, GeneratedBy). Give another "
            "output folder."
        )


def describe_dataset(dataset: Dataset, output: Path) -> None:
    """Writes the files at the root of the derivative dataset, where they are not there as they are to be.

    Several jobs may do so at once: each file is written whole, and all write the same.
    """
    contents = {
        DESCRIPTION: in_json(description(dataset, output)),
        "README.md": README.encode(),
        ".bidsignore": ("\n".join(IGNORED) + "\n").encode(),
        "dseg.tsv": label_table(),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if not (output / name).is_file() or (output / name).read_bytes() != content:
            write_bytes(output / name, content)


def description(dataset: Dataset, output: Path) -> dict[str, Any]:
    """Returns what `dataset_description.json` of the derivative dataset says."""
    source = dataset.description
    # A link that holds wherever both folders are moved to together, and names no folder above them.
    link = quote(Path(os.path.relpath(dataset.root.resolve(), output.resolve())).as_posix())
    doi = source.get("DatasetDOI")
    return {
        "Name": f"Glioma segmentations of {source.get('Name') or 'an unnamed dataset'}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": NAME,
                "Version": __version__,
                "Description": "Glioma segmentation from four MR sequences. Research use only.",
            }
        ],
        "SourceDatasets": [{"DOI": doi} if isinstance(doi, str) else {"URL": link}],
        "DatasetLinks": {SOURCE: link},
        "HowToAcknowledge": f"Name gliomask {__version__}, the model that the run records in logs/ name, and the "
        "source dataset.",
    }


def write_pieces(
    pieces: Iterable[Piece], place: Place, record: Callable[[dict[str, str]], bytes], earlier: Iterable[str] = ()
) -> None:
    """Writes the files of a session into the derivative dataset, its record last: all of them, or, after an error, what
    was there before.

    Args:
        pieces: what to write; what exists is replaced.
        place: of the session, below the dataset's root; only files that its layout can have are ever removed.
        record: makes the run record of the SHA-256 of every file.
        earlier: files that an earlier record of the session lists; those that are not among the pieces are removed.
    """

    def fill(folder: Path) -> None:
        for piece in pieces:
            target = folder / piece.path
            make_folder(target.parent)
            write_bytes(target, piece.content if isinstance(piece.content, bytes) else piece.content.read_bytes())

    with held(place):
        write_case(place, fill, record, earlier)
