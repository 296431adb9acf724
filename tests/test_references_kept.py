"""No label map that no run wrote is ever replaced; strict tells the gravest flag."""

from dataclasses import replace

import pytest
from conftest import make_tiny_case, write_brats_case

import gliomask
from gliomask.errors import QualityError, UsageError
from gliomask.flag import Flag
from gliomask.segmentation import Delivery, Options, Segmenter
from gliomask.segmentation.cases import segment_or_keep, segment_to_files
from gliomask.segmentation.source import open_source

PLAIN = Delivery(preview=False)


@pytest.fixture
def segmenter(fake_model):
    with Segmenter(Options(raw="never")) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    return write_brats_case(tmp_path / "cases", make_tiny_case())


@pytest.mark.parametrize(("overwrite", "resume"), [(False, False), (True, False), (False, True)])
def test_a_label_map_that_no_run_wrote_is_never_replaced(segmenter, folder, tmp_path, overwrite, resume):
    references = tmp_path / "references"
    references.mkdir()
    (references / "tiny_seg.nii.gz").write_bytes(b"the expert's")
    delivery = Delivery(preview=False, overwrite=overwrite)
    with pytest.raises(UsageError, match="no run record beside it lists it, so it may be a reference"):
        segment_or_keep(segmenter, open_source(folder), references, delivery, resume=resume)
    assert [path.read_bytes() for path in references.iterdir()] == [b"the expert's"]


def test_results_are_replaced_where_their_record_lists_them_or_is_damaged(segmenter, folder, tmp_path):
    again = Delivery(preview=False, overwrite=True)
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", PLAIN)
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)
    record = tmp_path / "out" / "tiny_run.json"
    record.write_bytes(record.read_bytes()[:50])
    segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)
    record.unlink()
    with pytest.raises(UsageError, match="no run record beside it lists it"):
        segment_to_files(segmenter, open_source(folder), tmp_path / "out", again)


def test_strict_tells_the_gravest_flag_and_names_the_others(fake_model, folder, tmp_path):
    outcome = gliomask.segment(folder, raw="never")
    assert [flag.name for flag in outcome.flags] == ["brain_small"]
    doubtful = replace(
        outcome,
        prediction=replace(
            outcome.prediction, flags=(*outcome.prediction.flags, Flag("doubtful", "The network doubts.", 0.5, 0.75))
        ),
    )
    with pytest.raises(
        QualityError, match=r"Case tiny: The network doubts. \(Also flagged: brain_small.\) Nothing was written"
    ):
        doubtful.save(tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
