"""The whole server: with its own worker and the shipped model the sample is segmented as by the library, and a raw
DICOM examination comes back.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series
from heads import make_head, moved_examination
from server_process import running_server

import gliomask
from gliomask.simulate.patient import simulate_case

pytestmark = [pytest.mark.server, pytest.mark.slow]

SAMPLE = Path(gliomask.__file__).parent / "sample" / "synthetic_0001"
SEQUENCES = ("flair", "t1", "t1ce", "t2")


def sample() -> dict[str, Path]:
    return {name: SAMPLE / f"synthetic_0001_{name}.nii.gz" for name in SEQUENCES}


def test_the_sample_is_segmented_as_the_library_does_within_the_limits_of_a_job(tmp_path):
    stages = set()
    with running_server(tmp_path / "data", real_worker=True, workers=1, threads=2) as server, server.client() as client:
        job_id = client.submit(sample())["id"]
        job = client.wait(job_id, lambda job: stages.add((job["progress"] or {}).get("stage")))
        assert job["state"] == "done", job["failure"]
        client.fetch(job, tmp_path / "out")
    assert "segmenting" in stages
    found = np.asarray(nib.load(tmp_path / "out" / "case_seg.nii.gz").dataobj).astype(np.uint8)
    wanted = np.array([0, 1, 2, 4], np.uint8)[gliomask.segment(SAMPLE).label_map]
    np.testing.assert_array_equal(found, wanted)
    assert job["expected_dice"].keys() == {"WT", "TC", "ET"}


def test_a_raw_examination_in_dicom_comes_back_as_objects_that_refer_to_its_contrast_scan(tmp_path):
    # With the network made by hand: what is looked at is the way there and back, which no network changes.
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("SimpleITK")
    case, _ = simulate_case(np.random.default_rng(11), size="small")
    examination, _ = moved_examination(make_head(case))
    for number, (sequence, scan) in enumerate(examination.scans.items(), start=1):
        write_series(tmp_path / "dicom" / sequence.value, scan.volume, scan.geometry, sequence.value, number)
    stages = []
    with running_server(tmp_path / "data", workers=1, threads=2) as server, server.client() as client:
        job_id = client.submit(tmp_path / "dicom")["id"]
        job = client.wait(job_id, lambda job: stages.append((job["progress"] or {}).get("stage")))
        assert job["state"] == "done", job["failure"]
        client.fetch(job, tmp_path / "out")
    assert any("registered to BraTS space first" in (stage or "") for stage in stages), stages
    segmentation = pydicom.dcmread(tmp_path / "out" / "case_seg_seg.dcm")
    contrast = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "dicom" / "t1ce").iterdir()}
    referred = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referred} <= contrast
    report = pydicom.dcmread(tmp_path / "out" / "case_seg_sr.dcm")
    assert (report.Modality, report.PatientID) == ("SR", "4711")
    # Files that do not have to carry the patient do not.
    plain = [path for path in (tmp_path / "out").iterdir() if path.suffix != ".dcm"]
    assert not [path.name for path in plain if b"SMITH" in path.read_bytes()]
