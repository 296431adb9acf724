"""docs/bad-input.md, row by row, as typed: the exit code, the words of the message, and that nothing is left behind.

The table says what must happen. A row whose test is `here` has its input in `INPUTS` below, and is held to the exit
code and the quoted words; any other names its test.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import make_tiny_case, write_brats_case
from dicom_series import write_series

import gliomask
from gliomask.cli.main import run
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.dicom import read as dicom_read
from gliomask.io.gunzip import Gunzip

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "bad-input.md"
NAMES = ("flair", "t1", "t1ce", "t2")
GRID = Geometry((12, 10, 5), np.array([[-1.0, 0, 0, 6], [0, -1, 0, 5], [0, 0, 4, 0], [0, 0, 0, 1]]))
"""Of the DICOM series."""
NAN = "7.777777"
"""A number in a header that is made to be none."""


@dataclass(frozen=True)
class Row:
    """A row of the table: what is quoted of the message, the exit codes, and where the test is."""

    quoted: tuple[str, ...]
    codes: tuple[int, ...]
    test: str


def rows() -> dict[tuple[str, str], Row]:
    """The table by input and route."""
    found = {}
    for line in PAGE.read_text().splitlines() if PAGE.exists() else ():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 5 and re.fullmatch(r"[0-9, ]+", cells[3]):
            codes = tuple(int(code) for code in cells[3].split(","))
            found[cells[0], cells[1]] = Row(tuple(re.findall("`(.*?)`", cells[2])), codes, cells[4].strip("`"))
    return found


ROWS = rows()


class Place:
    """A folder for one test, with a prepared case, raw scans or a DICOM series in it as they are asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.out, self.cases, self.case = folder / "out", folder / "cases", folder / "cases" / "tiny"
        self.t2 = self.case / "tiny_t2.nii.gz"

    def prepared(self, name: str = "tiny") -> list:
        write_brats_case(self.cases, make_tiny_case(name))
        return ["segment", self.cases, "-o", self.out, "--no-preview"]

    def files(self, **other: Path) -> list:
        self.prepared()
        paths = {name: self.case / f"tiny_{name}.nii.gz" for name in NAMES} | other
        return [
            "segment",
            *(word for name, path in paths.items() for word in (f"--{name}", path)),
            "-o",
            self.out,
            "--no-preview",
        ]

    def rewritten(self, change, name: str = "t2") -> list:
        """A prepared case with one scan (or all, for "all") changed by `change(values, affine)`."""
        words = self.prepared()
        for one in NAMES if name == "all" else (name,):
            path = self.case / f"tiny_{one}.nii.gz"
            image = nib.load(path)
            values, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
            nib.save(nib.Nifti1Image(values, affine), path)
        return words

    def header(self, offset: int, content: bytes) -> list:
        """A prepared case with bytes of one header changed."""
        words = self.prepared()
        whole = bytearray(gzip.decompress(self.t2.read_bytes()))
        whole[offset : offset + len(content)] = content
        self.t2.write_bytes(gzip.compress(bytes(whole)))
        return words

    def content(self, content: bytes) -> list:
        """A prepared case with other bytes under a scan's name."""
        words = self.prepared()
        self.t2.write_bytes(content)
        return words

    def raw(self, change=lambda volumes, affine: None) -> list:
        """Four scans with their skull on, on four grids."""
        generator = np.random.default_rng(0)
        affine = np.diag([8.0, 8, 8, 1])
        volumes = {name: generator.gamma(2, 50, (24 + n, 24, 12)).astype(np.float32) for n, name in enumerate(NAMES)}
        change(volumes, affine)
        self.folder.joinpath("scanner").mkdir()
        words = ["segment", "-o", self.out, "--no-preview"]
        for name, volume in volumes.items():
            path = self.folder / "scanner" / f"{name}.nii.gz"
            nib.save(nib.Nifti1Image(volume, affine), path)
            words += [f"--{name}", path]
        return words

    def dicom(self, sequences=("t1ce",), folder: Path | None = None, **options) -> list:
        """Series in one folder."""
        volume = np.random.default_rng(0).integers(1, 900, GRID.shape)
        for number, sequence in enumerate(sequences, start=1):
            write_series(
                (folder or self.folder / "ward") / f"{number}", volume + number, GRID, sequence, number, **options
            )
        return ["dicom", "convert", folder or self.folder / "ward", "-o", self.out]

    def left(self) -> list[str]:
        """What lies where the results go."""
        return sorted(path.name for path in self.out.rglob("*")) if self.out.is_dir() else []


def with_value(keyword, value):
    return lambda dataset, k: setattr(dataset, keyword, value)


def two_patients(place: Place) -> list:
    words = place.prepared()
    for path in list(place.case.iterdir()):
        shutil.copy(path, path.with_name(path.name.replace("tiny", "other")))
    return words


def two_patients_dicom(place: Place) -> list:
    place.dicom(folder=place.folder / "ward" / "a")
    place.dicom(("t2",), place.folder / "ward" / "b", change=with_value("PatientID", "0815"))
    return ["dicom", "convert", place.folder / "ward", "-o", place.out]


def as_ct(values):
    return np.where(values == 0, -1000, values).astype(np.float32)


def removed(place: Place) -> list:
    words = place.prepared()
    place.t2.unlink()
    return words


def same_image(place: Place) -> list:
    words = place.prepared()
    shutil.copy(place.case / "tiny_t1.nii.gz", place.case / "tiny_t1ce.nii.gz")
    return words


def two_names(place: Place) -> list:
    words = place.prepared()
    shutil.copy(place.case / "tiny_t1ce.nii.gz", place.case / "tiny_t1c.nii.gz")
    return words


def two_series(place: Place) -> list:
    return place.dicom(("t1ce", "t1ce"))


def vanishing(place: Place) -> list:
    words, read = place.prepared(), nifti.read_volume

    def late(path):
        if path == place.t2:
            path.unlink()
        return read(path)

    place.monkeypatch.setattr(nifti, "read_volume", late)
    return words


def unplugged(place: Place) -> list:
    def gone(self, count):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    place.monkeypatch.setattr(Gunzip, "read", gone)
    return place.prepared()


def vanishing_dicom(place: Place) -> list:
    decode = dicom_read.decode

    def late(wanted, *others):
        Path(wanted[2][0]).unlink()
        return decode(wanted, *others)

    place.monkeypatch.setattr(dicom_read, "decode", late)
    return place.dicom()


def cut_short(place: Place) -> list:
    words = place.prepared()
    place.t2.write_bytes(place.t2.read_bytes()[:-2000])
    return words


def cut_short_dicom(place: Place, length: int) -> list:
    words = place.dicom()
    path = sorted((place.folder / "ward" / "1").iterdir())[0]
    path.write_bytes(path.read_bytes()[:length])
    return words


def no_number(place: Place) -> list:
    words = place.dicom(change=with_value("ImagePositionPatient", [NAN, NAN, NAN]))
    for path in (place.folder / "ward" / "1").iterdir():
        path.write_bytes(path.read_bytes().replace(NAN.encode(), b"nan".ljust(len(NAN))))
    return words


def loop_of_folders(place: Place) -> list:
    words = place.prepared()
    place.case.joinpath("up").symlink_to(place.cases)
    place.cases.joinpath("here").symlink_to(place.cases)
    return words


def loop_of_a_file(place: Place) -> list:
    words = removed(place)
    place.t2.symlink_to(place.t2.name)
    return words


def loop_named(place: Place) -> list:
    path = place.folder / "loop.nii.gz"
    path.symlink_to(path.name)
    return place.files(t2=path)


def loop_dicom(place: Place) -> list:
    words = place.dicom(NAMES)
    (place.folder / "ward" / "up").symlink_to(place.folder / "ward")
    (place.folder / "ward" / "loop.dcm").symlink_to("loop.dcm")
    return words


def pipe(place: Place) -> list:
    words = removed(place)
    os.mkfifo(place.t2)
    return words


def folder_for_a_file(place: Place) -> list:
    words = removed(place)
    place.t2.mkdir()
    return words


def below_a_file(place: Place) -> list:
    place.folder.joinpath("taken").write_text("a file")
    return [*place.prepared()[:2], "-o", place.folder / "taken" / "out"]


def read_only(place: Place) -> list:
    # As os.access answers for a folder that may not be written to; root may write to every one but those on a read-only
    # disk, see the test of mounted ones.
    place.monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    return place.prepared()


def full_disk(place: Place) -> list:
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.monkeypatch.setattr(os, "fsync", full)
    return place.prepared()


def full_disk_dicom(place: Place) -> list:
    full_disk(place)
    return place.dicom(NAMES)


def done_before(place: Place) -> list:
    place.out.mkdir()
    (place.out / "tiny_volumes.tsv").write_text("kept")
    return place.prepared()


def reference_in_the_output(place: Place) -> list:
    place.out.mkdir()
    (place.out / "tiny_seg.nii.gz").write_text("kept")
    return [*place.prepared(), "--overwrite"]


def packed(place: Place, name: str) -> list:
    with zipfile.ZipFile(place.folder / "ward.zip", "w") as archive:
        archive.writestr(name, b"x")
    return ["dicom", "convert", place.folder / "ward.zip", "-o", place.out]


def text_as_dicom(place: Place) -> list:
    words = place.dicom()
    (place.folder / "ward" / "1" / "notes.dcm").write_text("patient 7, T2")
    return words


def dicom_as_case(place: Place, *sequences: str) -> list:
    place.dicom(sequences)
    return ["segment", place.folder / "ward", "-o", place.out, "--raw", "never", "--no-preview"]


def dicom_as_scan(place: Place) -> list:
    place.dicom()
    return place.content(next((place.folder / "ward" / "1").iterdir()).read_bytes())


def broken_line(place: Place) -> list:
    folder = place.folder / "ward\n7"
    words = place.dicom(NAMES, folder)
    for path in (folder / "1").iterdir():
        path.rename(path.with_name(f"a\n{path.name}"))
    return words


INPUTS = {
    ("a missing sequence", "prepared, raw"): removed,
    ("a sequence that is not named", "prepared, raw"): lambda place: [*place.files()[:-5], "-o", place.out],
    ("a file that does not exist", "prepared, raw"): lambda place: place.files(t2=place.folder / "none.nii.gz"),
    ("a missing sequence", "DICOM"): lambda place: place.dicom(NAMES[:3]),
    ("two patients in one folder", "prepared, raw"): two_patients,
    ("two patients in one folder", "DICOM"): two_patients_dicom,
    ("a CT", "prepared"): lambda place: place.rewritten(lambda values, affine: (as_ct(values), affine)),
    ("a CT", "raw"): lambda place: place.raw(
        lambda volumes, affine: volumes.update(t1=np.where(volumes["t1"] < 60, -1000, volumes["t1"]).astype(np.float32))
    ),
    ("a CT", "DICOM"): lambda place: place.dicom(change=with_value("Modality", "CT")),
    ("a CT named by `--series`", "DICOM"): lambda place: [
        *place.dicom(change=with_value("Modality", "CT")),
        "--series",
        "t1=1",
    ],
    ("a single slice", "prepared"): lambda place: place.rewritten(
        lambda values, affine: (values[:, :, 9:10], affine), "all"
    ),
    ("a single slice", "raw"): lambda place: place.raw(
        lambda volumes, affine: volumes.update(t1=volumes["t1"][:, :, :1])
    ),
    ("a single slice", "DICOM"): lambda place: place.dicom(skip=(0, 1, 3, 4)),
    ("a 4-D series", "prepared, raw"): lambda place: place.rewritten(
        lambda values, affine: (np.stack([values] * 3, axis=-1), affine)
    ),
    ("a 4-D series", "DICOM"): lambda place: place.dicom(order=[0, 1, 2, 3, 4] * 2),
    ("reversed slices in one scan alone", "prepared"): lambda place: place.rewritten(
        lambda values, affine: (
            values[:, :, ::-1],
            affine @ np.diag([1.0, 1, -1, 1]) + affine[:, 2:3] * (values.shape[2] - 1) * np.eye(4)[3],
        )
    ),
    ("other grids, skull off", "prepared"): lambda place: place.rewritten(
        lambda values, affine: (values, affine + np.eye(4, k=3) * 5)
    ),
    ("a spacing of zero", "prepared, raw"): lambda place: place.header(80, np.zeros(1, "<f4").tobytes()),
    ("a spacing of zero", "DICOM"): lambda place: place.dicom(change=with_value("PixelSpacing", [0, 0])),
    ("an affine of NaN", "prepared, raw"): lambda place: place.header(280, np.full(12, np.nan, "<f4").tobytes()),
    ("a position of NaN", "DICOM"): no_number,
    ("one file for two sequences", "prepared, raw"): lambda place: place.files(t1ce=place.case / "tiny_t1.nii.gz"),
    ("two files for one sequence", "prepared, raw"): two_names,
    ("one image under two names", "prepared"): same_image,
    ("one image under two names", "raw"): lambda place: place.raw(
        lambda volumes, affine: volumes.update(t1ce=volumes["t1"])
    ),
    ("two equal series for one sequence", "DICOM"): two_series,
    ("a gap between slices", "DICOM"): lambda place: place.dicom(skip=(2,)),
    ("a Siemens mosaic", "DICOM"): lambda place: [
        *place.dicom(change=with_value("ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
        "--series",
        "t2=1",
    ],
    ("a file that vanishes before it is read", "prepared, raw"): vanishing,
    ("a network drive that goes away", "prepared, raw"): unplugged,
    ("a file that vanishes before it is read", "DICOM"): vanishing_dicom,
    ("an output folder that may not be written to", "all"): read_only,
    ("an output folder below a file", "all"): below_a_file,
    ("a full disk", "prepared, raw"): full_disk,
    ("a full disk", "DICOM"): full_disk_dicom,
    ("a result that exists", "prepared, raw"): done_before,
    ("a label map that no run wrote, where the result would go", "prepared, raw"): reference_in_the_output,
    ("a truncated gzip", "prepared, raw"): cut_short,
    ("a file cut off in its pixels", "DICOM"): lambda place: cut_short_dicom(place, -20),
    ("a file cut off in its header", "DICOM"): lambda place: cut_short_dicom(place, 400),
    ("dimensions beyond reason", "prepared, raw"): lambda place: place.header(
        40, np.array([3, 30000, 30000, 30000], "<i2").tobytes()
    ),
    ("a loop of folders", "prepared, raw"): loop_of_folders,
    ("a link to itself", "prepared, raw"): loop_of_a_file,
    ("a link to itself, named", "prepared, raw"): loop_named,
    ("loops of folders and files", "DICOM"): loop_dicom,
    ("a zip with names that reach outside", "DICOM"): lambda place: packed(place, "../../up.dcm"),
    ("a zip under a NIfTI name", "prepared, raw"): lambda place: place.content(b"PK\x03\x04" + bytes(400)),
    ("text under a NIfTI name", "prepared, raw"): lambda place: place.content(b"patient 7, T2" * 40),
    ("DICOM under a NIfTI name", "prepared, raw"): dicom_as_scan,
    ("a pointer of Git LFS", "prepared, raw"): lambda place: place.content(
        b"version https://git-lfs.github.com/spec/v1\n" * 12
    ),
    ("an empty file", "prepared, raw"): lambda place: place.content(b""),
    ("a folder under a NIfTI name", "prepared, raw"): folder_for_a_file,
    ("a pipe", "prepared, raw"): pipe,
    ("text under a DICOM name", "DICOM"): text_as_dicom,
    ("DICOM files", "prepared, raw"): lambda place: dicom_as_case(place, *NAMES),
    ("DICOM files that lack a sequence", "prepared, raw"): lambda place: dicom_as_case(place, "t1ce", "flair"),
    ("`--series` without DICOM files", "prepared, raw"): lambda place: [*place.prepared(), "--series", "t1=1"],
    ("NaN among the voxels", "prepared, raw"): lambda place: place.rewritten(
        lambda values, affine: (np.where(values == values.max(), np.nan, values), affine)
    ),
    ("an empty scan", "prepared, raw"): lambda place: place.rewritten(lambda values, affine: (values * 0, affine)),
    ("letters of any script and spaces in names", "prepared, raw"): lambda place: place.prepared("Müller 脳"),
    ("a line break in a name", "prepared, raw"): lambda place: place.prepared("a\nb"),
    ("a terminal's control characters in a name", "prepared, raw"): lambda place: place.prepared("a\x1b[2Jb"),
    ("a name that is no UTF-8", "prepared, raw"): lambda place: place.prepared(os.fsdecode(b"a\xffb")),
    ("a line break in a name", "DICOM"): broken_line,
    ("a name that leaves no room for endings", "prepared, raw"): lambda place: place.prepared("a" * 230),
    ("a path that is too long", "prepared, raw"): lambda place: [
        *place.prepared()[:1],
        place.folder / ("a" * 300),
        "-o",
        place.out,
    ],
    ("an output folder whose name is too long", "prepared, raw"): lambda place: [
        *place.prepared()[:2],
        "-o",
        place.folder / ("a" * 300),
    ],
    ("patches larger than any scan", "prepared, raw"): lambda place: [
        *place.prepared(),
        "--patches",
        "adjacent",
        "--patch-size",
        2_000_000_000,
    ],
    ("more threads than any machine has", "prepared, raw"): lambda place: [
        *place.prepared(),
        "--threads",
        "1" + "0" * 400,
    ],
    ("more memory than any machine has", "prepared, raw"): lambda place: [
        *place.prepared(),
        "--max-memory",
        "1" + "0" * 400,
    ],
}


@pytest.fixture
def place(tmp_path, monkeypatch, fake_model):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return Place(tmp_path, monkeypatch)


@pytest.mark.skipif(not ROWS, reason="the documentation is not at hand")
@pytest.mark.parametrize("key", INPUTS, ids=", ".join)
def test_row(key, place, capsys):
    if key[1] == "raw":
        pytest.importorskip("SimpleITK")
    words, row = INPUTS[key](place), ROWS[key]
    before = place.left()
    code = run(list(map(str, words)))
    printed = capsys.readouterr()
    assert code == row.codes[0], printed.err
    for quoted in row.quoted:
        assert quoted in (printed.err if code else printed.out + printed.err + " ".join(place.left()))
    if code:
        # One message; what the way to it told may stand above.
        assert [line.startswith("Error: ") for line in printed.err.splitlines()].count(True) == 1
        assert place.left() == before
    assert "\x1b" not in printed.out + printed.err
    assert not list(place.folder.rglob("*.part"))
    assert not list((place.folder / "temporary").iterdir())


@pytest.mark.skipif(not ROWS, reason="the documentation is not at hand")
def test_every_row_has_its_test():
    here = {key for key, row in ROWS.items() if row.test == "here"}
    assert here == set(INPUTS)
    assert len(ROWS) > 60
    for key, row in ROWS.items():
        if row.test != "here":
            module, name = row.test.split("::")
            assert re.search(rf"^def {name}\(", (TESTS / module).read_text(), re.MULTILINE), key


def contents(folder: Path) -> dict[str, int]:
    """Each file with its time of change, which of source text is left out: someone may be writing it.

    What Python itself keeps is left out, too.
    """
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): 0 if path.suffix == ".py" or path.is_dir() else path.stat().st_mtime_ns for path in paths}


def test_nothing_is_written_into_the_installed_package(place):
    package = Path(gliomask.__file__).parent
    before = contents(package)
    assert run([str(word) for word in (*place.prepared(), "--report", "html")]) == 0
    assert run([str(word) for word in place.dicom()]) == 0
    assert (
        run(["report", str(place.out / "tiny_seg.nii.gz"), "-o", str(place.folder / "again"), "--format", "json"]) == 0
    )
    assert contents(package) == before


MOUNTED = """
import json, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import gliomask, gliomask.segmentation.segmenter, hand_model
from gliomask.cli.main import run
gliomask.segmentation.segmenter.load_model = lambda name: hand_model.model_by_hand()
case, full, locked, package = map(Path, (*sys.argv[2:5], Path(gliomask.__file__).parent))
def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)
mount("-t", "tmpfs", "-o", "size=12k", "tmpfs", full)
mount("-t", "tmpfs", "-o", "ro", "tmpfs", locked)
mount("--bind", package, package)
mount("-o", "remount,bind,ro", package)
codes = [run(["segment", str(case), "-o", str(place / "out"), "--no-preview"]) for place in (full, locked, case.parent)]
print(json.dumps([codes, [path.name for path in (full / "out").glob("*")]]))
"""


def test_disks_that_are_full_or_locked(place):
    """Real ones, mounted in a name space of their own; the package itself lies on a locked one all the while."""
    unshare = shutil.which("unshare")
    allowed = (
        unshare
        and subprocess.run([unshare, "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode
        == 0
    )
    if not allowed:
        pytest.skip("needs unshare and the right to mount")
    place.prepared()
    folders = [place.folder / name for name in ("full", "locked")]
    for folder in folders:
        folder.mkdir()
    command = [unshare, "--map-root-user", "--mount", sys.executable, "-c", MOUNTED, TESTS, place.case, *folders]
    child = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    codes, left = json.loads(child.stdout.splitlines()[-1])
    assert codes == [5, 2, 0]
    assert left == []
    assert "No space left on device" in child.stderr
    assert "locked is read-only for you" in child.stderr
