"""The whole server with its own worker and the shipped model, as it is installed: the sample is segmented as by the library."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from server_process import running_server

import gliomask

pytestmark = [pytest.mark.server, pytest.mark.slow]

SAMPLE = Path(gliomask.__file__).parent / "sample" / "synthetic_0001"
SEQUENCES = ("flair", "t1", "t1ce", "t2")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("real") / "data", real_worker=True, workers=1, threads=2) as running:
        yield running


def sample() -> dict[str, Path]:
    return {name: SAMPLE / f"synthetic_0001_{name}.nii.gz" for name in SEQUENCES}


def test_the_sample_is_segmented_as_the_library_does_within_the_limits_of_a_job(server, tmp_path):
    stages = set()
    with server.client() as client:
        job_id = client.submit(sample())["id"]
        job = client.wait(job_id, lambda job: stages.add((job["progress"] or {}).get("stage")))
        assert job["state"] == "done", job["failure"]
        client.fetch(job, tmp_path)
    assert "segmenting" in stages
    found = np.asarray(nib.load(tmp_path / "case_seg.nii.gz").dataobj).astype(np.uint8)
    wanted = np.array([0, 1, 2, 4], np.uint8)[gliomask.segment(SAMPLE).label_map]
    np.testing.assert_array_equal(found, wanted)
    assert job["expected_dice"].keys() == {"WT", "TC", "ET"}
