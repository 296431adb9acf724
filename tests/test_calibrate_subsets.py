"""The script that calibrates a model's doubts about patients who lack sequences: every subset gets lines of its own,
and no subset lacks cases.
"""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from test_phantom_et import load

from gliomask.labels import Region
from gliomask.models.calibration import parse_subsets
from gliomask.sequences import Sequence
from gliomask.study.tables import to_tsv


@pytest.fixture(scope="module")
def script():
    return load("calibrate_subsets")


@pytest.fixture
def table(script, tmp_path, monkeypatch):
    """Thirty patients: twice what was expected less one with T1ce, and nothing of the enhancing tumour without."""
    generator = np.random.default_rng(1)
    rows = []
    for n in range(30):
        for missing in script.SUBSETS:
            expected = {region: float(generator.uniform(0.85, 1)) for region in Region}
            dice = {
                region: 0.0 if region == Region.ET and Sequence.T1CE in missing else 2 * value - 1
                for region, value in expected.items()
            }
            figures = {region.value: f"{value:.6f}" for region, value in dice.items()} | {
                f"expected_{region}": f"{v:.6f}" for region, v in expected.items()
            }
            rows.append(
                {"case": f"case{n}", "fold": str(n % 3), "sequences": script.sequences_left(missing), **figures}
            )
    (tmp_path / "cases.tsv").write_bytes(to_tsv(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["calibrate", "cases.tsv", "-o", "quality.tsv", "--json", "subsets.json"])
    return rows


def test_every_subset_has_its_own_lines(script, table, tmp_path):
    script.main()
    found = parse_subsets((tmp_path / "subsets.json").read_bytes(), "subsets.json")
    assert [frozenset(one.without) for one in found.sets] == [frozenset(missing) for missing in script.SUBSETS]
    assert found.cases == 30
    for one in found.sets:
        blind = Sequence.T1CE in one.without
        assert one.regions["WT"].slope == pytest.approx(2, abs=0.01)
        assert one.regions["ET"].slope == pytest.approx(0 if blind else 2, abs=0.01)
        assert (one.regions["ET"].median == 0) == blind
        assert one.flagged == 30 if blind else one.flagged < 30
    cost = found.cost({Sequence.T1CE})
    assert cost.median_dice[Region.ET] == 0 < cost.median_dice_of_all[Region.ET]
    rows = list(csv.DictReader((tmp_path / "quality.tsv").read_text().splitlines(), delimiter="\t"))
    assert [(row["without"], row["region"]) for row in rows[:4]] == [
        ("nothing", "WT"),
        ("nothing", "TC"),
        ("nothing", "ET"),
        ("flair", "WT"),
    ]
    assert len(rows) == 3 * len(script.SUBSETS)


def test_a_half_finished_table_is_refused(script, table, tmp_path):
    (tmp_path / "cases.tsv").write_bytes(to_tsv(table[:-1]))
    with pytest.raises(SystemExit, match=r"cases\.tsv: not every case is there with every subset"):
        script.main()
    assert not (tmp_path / "subsets.json").exists()
