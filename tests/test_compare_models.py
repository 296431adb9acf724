import csv
import sys
from pathlib import Path

import pytest
from test_phantom_et import load

COLUMNS = [
    "case",
    *(f"{region}_{metric}" for region in ("WT", "TC", "ET") for metric in ("dice", "sensitivity", "hd95_mm")),
]
CASES = {"a1": ("0", "north"), "a2": ("0", "south"), "a3": ("0", "south"), "b1": ("1", "north"), "b2": ("1", "south")}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Scores of two models, the second worse by .1 in the north and by .2 in the south, and whose cases they are."""
    for name, worse in (("ours", {"north": 0.0, "south": 0.0}), ("theirs", {"north": 0.1, "south": 0.2})):
        lines = [COLUMNS, *([case, *[f"{0.9 - worse[cohort]:.2f}"] * 9] for case, (_, cohort) in CASES.items())]
        (tmp_path / f"{name}.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    (tmp_path / "manifest.csv").write_text(
        "case,fold,cohort\n" + "".join(f"{case},{fold},{cohort}\n" for case, (fold, cohort) in CASES.items())
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(monkeypatch, *options: str) -> list[dict[str, str]]:
    monkeypatch.setattr(sys, "argv", ["compare", "ours.tsv", "theirs.tsv", "-o", "table.tsv", *options])
    load("compare_models").main()
    table = csv.DictReader(Path("table.tsv").read_text().splitlines(), delimiter="\t")
    return [row for row in table if row["metric"] == "dice" and row["region"] == "TC"]


def test_all_patients_are_compared_pair_by_pair(tables, monkeypatch):
    (row,) = compared(monkeypatch)
    assert row["n"] == "5"
    assert float(row["mean_difference"]) == pytest.approx((2 * 0.1 + 3 * 0.2) / 5)


def test_one_fold_alone(tables, monkeypatch):
    (row,) = compared(monkeypatch, "--folds", "manifest.csv", "--fold", "0")
    assert row["n"] == "3"
    assert float(row["mean_difference"]) == pytest.approx((0.1 + 2 * 0.2) / 3, abs=1e-5)


def test_each_collection_too(tables, monkeypatch):
    rows = compared(monkeypatch, "--collections", "manifest.csv")
    assert {row["collection"]: (row["n"], round(float(row["mean_difference"]), 6)) for row in rows} == {
        "all": ("5", 0.16),
        "north": ("2", 0.1),
        "south": ("3", 0.2),
    }


def test_a_patient_in_one_table_only_is_refused(tables, monkeypatch):
    path = tables / "theirs.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(SystemExit, match="b2"):
        compared(monkeypatch)
    assert not (tables / "table.tsv").exists()


def test_a_fold_needs_its_table(tables, monkeypatch):
    with pytest.raises(SystemExit):
        compared(monkeypatch, "--fold", "0")
