"""The profile: every moment counts for one stage, networks are counted, and nothing is measured where nobody asked."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import write_brats_case
from fakes import tiny_graph, tiny_weights

from gliomask import profiling
from gliomask.cli.main import run
from gliomask.models.operations import Work, work_per_pixel
from gliomask.models.registry import load_model
from gliomask.profiling import OTHER, NetworkWork, stage
from gliomask.profiling import profiling as measure


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def quick_sgemm(monkeypatch):
    monkeypatch.setattr(profiling, "sgemm_gmac_per_s", lambda: 50.0)


def test_nested_stages_share_the_time_and_leave_none_out(quick_sgemm):
    start = time.perf_counter()
    with measure() as found:
        before = found.stages.get("start-up", profiling.Stage()).seconds
        with stage("outer"):
            spin(0.02)
            with stage("inner"):
                spin(0.03)
            spin(0.01)
        passed = time.perf_counter() - start
        measured = found.measured()
    stages = measured["stages"]
    assert stages["outer"]["processor_seconds"] >= 0.03
    assert stages["inner"]["processor_seconds"] >= 0.03
    assert set(stages) == {"start-up", "outer", "inner", OTHER} or before == 0
    assert measured["total_seconds"] >= round(passed + before, 3) - 0.005


def test_a_lap_takes_what_has_passed_since(quick_sgemm):
    with measure() as found:
        with stage("first"):
            pass
        spin(0.02)
        found.lap("lap")
    assert found.stages["lap"].processor_seconds >= 0.02
    assert found.stages["first"].processor_seconds < 0.02


def test_a_stage_that_fails_ends(quick_sgemm):
    with measure() as found:
        with pytest.raises(ValueError, match="no"), stage("failing"):
            raise ValueError("no")
        with stage("next"):
            pass
        assert list(found.measured()["stages"])[-2:] == ["failing", "next"] or "next" in found.stages
    assert profiling.current() is None


def test_nothing_is_measured_unasked():
    with stage("unseen"):
        assert profiling.current() is None


PEAKS = """
import numpy as np
from gliomask.profiling import profiling, stage
with profiling() as found:
    with stage("large"):
        np.ones(30_000_000, np.float32)
    with stage("small"):
        np.ones(30_000, np.float32)
print(found.stages["large"].peak_mb - found.stages["small"].peak_mb)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of each stage")
def test_peaks_are_each_stage_s_own():
    """In a process of its own: one in which other tests have worked holds memory that it may use again."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 80


def test_networks_are_counted():
    with measure() as found:
        predict = found.count("net", lambda batch: batch, channels=4, mac_per_pixel=1e6)
        for _ in range(3):
            predict(np.zeros((2, 5, 10, 4), np.float32))
    assert found.networks == {"net": NetworkWork(300, 3, pytest.approx(0.3))}


def test_multiply_adds_are_counted_from_the_graph():
    assert work_per_pixel(tiny_graph("slices", tiny_weights("slices")), 4).mac == 3 * 3 * 4 * 5 + 10 * 4
    assert work_per_pixel(tiny_graph("volumes", tiny_weights("volumes")), 4).mac == 27 * 4 * 5 + 10 * 4


def test_multiply_adds_of_a_u_net_are_those_worked_out_by_hand():
    # networks.unet: a stem of 6 x 6 with stride 2, units of two convolutions, all at 1/2 to 1/16 of the resolution.
    widths = (32, 64, 128, 192)
    expected = (20 * 36 * 32 + 2 * 9 * 32 * 32) / 4
    for level, (before, width) in enumerate(pairwise(widths), start=2):
        expected += (9 * before * width + 9 * width * width + before * width) / 4**level
    below = widths[-1]
    for level, width in ((3, 128), (2, 64), (1, 32)):
        expected += (9 * (below + width) * width + 9 * width * width + (below + width) * width) / 4**level
        below = width
    assert work_per_pixel(load_model("residual-unet").source.graph, 20).mac == expected + 32 * 4 * 4 / 4


def test_the_command_prints_and_records_it(tiny_case, fake_model, tmp_path, capsys, quick_sgemm, monkeypatch):
    monkeypatch.setattr("gliomask.segmentation.segmenter.work_per_pixel", lambda graph, channels: Work(1000.0, 100.0))
    folder = write_brats_case(tmp_path / "case", tiny_case)
    assert run(["segment", str(folder), "-o", str(tmp_path / "out"), "--raw", "never", "--profile"]) == 0
    printed = capsys.readouterr().out
    record = json.loads(next((tmp_path / "out").glob("*_run.json")).read_text())
    assert {"read", "check", "normalise", "network", "postprocess"} <= set(record["profile"]["stages"])
    assert record["profile"]["networks"]["by-hand"]["voxels"] > 0
    for name in ("picture", "write", "networks:"):
        assert name in printed
    assert run(["segment", str(folder), "-o", str(tmp_path / "plain"), "--raw", "never"]) == 0
    assert "profile" not in json.loads(next((tmp_path / "plain").glob("*_run.json")).read_text())


def test_it_is_for_one_case(tiny_case, fake_model, tmp_path, capsys):
    for name in ("one", "two"):
        write_brats_case(tmp_path / "cases" / name, tiny_case)
    assert run(["segment", str(tmp_path / "cases"), "-o", str(tmp_path / "out"), "--raw", "never", "--profile"]) == 2
    assert "--profile measures one case" in capsys.readouterr().err
