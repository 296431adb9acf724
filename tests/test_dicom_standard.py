"""Written objects against the standard's own tables of modules and attributes, as highdicom brings them: what must be
there is there, and nothing else is.

Types 1 and 2 of every mandatory module are looked for at every depth, and every attribute must belong to one of the
object's modules. Conditions of the types 1C and 2C are prose in the standard, and are not judged.
"""

from __future__ import annotations

import shutil
import subprocess

import pydicom
import pytest
from dicom_series import write_enhanced
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from test_dicom_export import exported, labels, series  # noqa: F401
from test_dicom_read import SHAPE, oblique

from gliomask.io.dicom.export import Kinds, export
from gliomask.labels import convention

standard = pytest.importorskip("highdicom._standard_utils")

META_GROUP = 0x0002

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""The table lists every group under both; each must be in one of them (PS3.3, C.7.6.16.1.1)."""

GROUPS = (
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
    "FrameContentSequence",
    "SegmentIdentificationSequence",
    "DerivationImageSequence",
)
"""Of a segmentation of slices that come from images (PS3.3, A.51.5.1)."""

VALUES = {
    "CONTAINER": ("ContinuityOfContent",),
    "CODE": ("ConceptCodeSequence",),
    "NUM": ("MeasuredValueSequence",),
    "IMAGE": ("ReferencedSOPSequence",),
    "COMPOSITE": ("ReferencedSOPSequence",),
    "WAVEFORM": ("ReferencedSOPSequence",),
    "SCOORD": ("GraphicData", "GraphicType"),
    "SCOORD3D": ("GraphicData", "GraphicType", "ReferencedFrameOfReferenceUID"),
    "TCOORD": ("TemporalRangeType",),
    "TABLE": ("TabulatedValuesSequence",),
    "TEXT": ("TextValue",),
    "UIDREF": ("UID",),
    "PNAME": ("PersonName",),
}
"""What a content item of a report holds, by its type (PS3.3, C.17.3.2.1); the table lists all of it for every item."""

OF_VALUES = {keyword for keywords in VALUES.values() for keyword in keywords}


@pytest.fixture(scope="module")
def tables():
    return standard.get_sop_class_iod_map(), standard.get_iod_module_map(), standard.get_module_attribute_map()


def modules_of(dataset, tables) -> list[dict]:
    classes, modules, _ = tables
    return modules[classes[dataset.SOPClassUID]]


def items_at(dataset, path) -> list:
    """The datasets that a path of keywords leads to."""
    found = [dataset]
    for keyword in path:
        found = [item for one in found for item in one.get(keyword, [])]
    return found


def missing(dataset, tables) -> list[str]:
    """Attributes of type 1 that are absent or empty, and of type 2 that are absent, in the mandatory modules."""
    attributes = tables[2]
    found = []
    for module in modules_of(dataset, tables):
        if module["usage"] != "M":
            continue
        for attribute in attributes[module["key"]]:
            if attribute["path"][-1:] and attribute["path"][-1] in FUNCTIONAL_GROUPS:
                continue
            if module["key"] == "sr-document-content" and attribute["keyword"] in OF_VALUES:
                continue
            for item in items_at(dataset, attribute["path"]):
                keyword = attribute["keyword"]
                absent = keyword not in item
                empty = not absent and item[keyword].is_empty
                if attribute["type"] in ("1", "2") and (absent or (empty and attribute["type"] == "1")):
                    found.append(
                        f"{module['key']}: {'/'.join([*attribute['path'], keyword])} of type {attribute['type']}"
                    )
    return found


def strangers(dataset, tables) -> list[str]:
    """Attributes that are in no module of the object."""
    known = {
        attribute["keyword"]
        for module in modules_of(dataset, tables)
        for attribute in tables[2][module["key"]]
        if not attribute["path"]
    }
    return [
        keyword_for_tag(element.tag)
        for element in dataset
        if element.tag.group != META_GROUP and keyword_for_tag(element.tag) not in known
    ]


@pytest.mark.parametrize("kind", ["seg", "rtstruct", "sr"])
def test_objects_have_what_the_standard_asks_for_and_nothing_else(kind, tables, tmp_path, labels, series, monkeypatch):  # noqa: F811
    assert exported(tmp_path, labels, series, *(["--sr"] if kind == "sr" else [f"--{kind}"])) == 0
    # Values are held against their representations (PS3.5) while the file is read.
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    dataset = pydicom.dcmread(tmp_path / "out" / f"tumour_{kind}.dcm")
    for element in dataset.iterall():
        _ = element.value
    assert missing(dataset, tables) == []
    assert strangers(dataset, tables) == []
    if kind == "seg":
        shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
        assert [group for group in GROUPS if group not in shared and not all(group in frame for frame in frames)] == []
    if kind == "sr":
        items = list(content_items(dataset))
        assert len(items) > 40
        assert [
            item.ValueType for item in items if any(keyword not in item for keyword in VALUES[item.ValueType])
        ] == []


def content_items(item):
    """The root of a report and all items below it."""
    yield item
    for below in item.get("ContentSequence", []):
        yield from content_items(below)


@pytest.mark.parametrize(("enhanced", "corrected_by"), [(False, None), (True, None), (False, "A. <B>")])
def test_another_validator_finds_no_fault(enhanced, corrected_by, tmp_path, labels, series, rng):  # noqa: F811
    """dciodvfy (D. Clunie's dicom3tools; `apt install dicom3tools`) knows the conditions too."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy")
    if enhanced:
        series = write_enhanced(
            tmp_path / "enhanced" / "one.dcm",
            rng.integers(0, 900, SHAPE),
            oblique(),
            "t1ce",
            5,
            order=[3, 1, 0, 2, 6, 5, 4],
        ).parent
    assert exported(tmp_path, labels, series) == 0
    if corrected_by is not None:
        # As the server does with a correction.
        place = (tmp_path / "tumour.nii.gz", series, tmp_path / "out", Kinds(), convention("brats2021"))
        export(*place, corrected_by=corrected_by, overwrite=True)
    for kind in ("seg", "rtstruct", "sr"):
        found = subprocess.run(
            [program, "-new", tmp_path / "out" / f"tumour_{kind}.dcm"], capture_output=True, text=True, check=False
        )
        said = (found.stdout + found.stderr).splitlines()
        assert said, "it names the kind of object at least"
        assert [line for line in said if line.startswith(("Error", "Warning"))] == []


def test_the_check_finds_what_is_missing(tables, tmp_path, labels, series):  # noqa: F811
    assert exported(tmp_path, labels, series, "--seg") == 0
    dataset = pydicom.dcmread(tmp_path / "out" / "tumour_seg.dcm")
    del dataset.ContentLabel
    dataset.SegmentSequence[1].SegmentLabel = None
    dataset.RTPlanLabel = "none"
    assert {line.split()[1].split("/")[-1] for line in missing(dataset, tables)} == {"ContentLabel", "SegmentLabel"}
    assert strangers(dataset, tables) == ["RTPlanLabel"]
    assert tag_for_keyword("RTPlanLabel") in dataset
