"""Model cards say what `model.json` says, and the ones in docs/ are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import tiny_spec, tiny_subsets

from gliomask.files.markdown import WIDTH
from gliomask.models.calibration import Quality, QualityLine
from gliomask.models.card import card
from gliomask.models.registry import load_model, shipped_models
from gliomask.models.spec import ForeignRecord, Timing

CARDS = Path(__file__).resolve().parents[1] / "docs" / "model-cards"

SUMMARY = {"median": 0.91, "median_low": 0.88, "median_high": 0.93, "mean": 0.87, "mean_low": 0.84, "mean_high": 0.9}


def unwrapped(text: str) -> str:
    """The text in one line: where a line of prose ends says nothing."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", shipped_models())
def test_the_card_in_docs_is_what_the_model_says(name):
    assert (CARDS / f"{name}.md").read_text() == card(load_model(name).spec), (
        "run benchmarks/ship_model.py again, or write the card anew"
    )


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_says_how_its_scores_are_to_be_read_and_how_long_it_takes(name):
    spec = load_model(name).spec
    assert spec.scores is not None
    assert spec.scores["reading"].strip()
    assert spec.timing is not None
    assert spec.timing.command


def test_a_card_states_scores_limits_and_licence():
    scores = {"protocol": "By hand.", "regions": {"WT": {"dice": SUMMARY}}, "commands": ["gliomask evaluate"]}
    spec = tiny_spec("slices", scores=scores, attribution=("A work.",))
    text = card(spec)
    assert "| WT | 0.910 (0.880 to 0.930) | 0.870 (0.840 to 0.900) | - |" in text
    assert "not a medical device" in unwrapped(text)
    assert "- A work." in text
    assert "By hand." in text


def test_a_card_tells_what_the_models_own_doubts_are_worth():
    line = QualityLine(intercept=-1.0, slope=2.0, below=0.2, above=0.1, spearman=0.65, held=0.83, width=0.27)
    regions = dict.fromkeys(("WT", "TC", "ET"), line)
    quality = Quality(
        regions=regions,
        coverage=0.8,
        cases=65,
        flagged=9,
        worst=10,
        worst_flagged=6,
        protocol="By hand.",
        command="calibrate x",
    )
    text = card(tiny_spec("slices", quality=quality))
    assert "| TC | -1.000 + 2.000 x what the network expects | -0.200, +0.100 | 0.65 | 83% | 0.27 |" in text
    assert "Of 65 cases 9 would have been flagged `doubtful`, among them 6 of the 10 worst" in unwrapped(text)
    assert "`calibrate x`" in text
    assert "How sure it is" not in card(tiny_spec("slices"))


def test_a_card_tells_what_missing_sequences_cost():
    text = card(tiny_spec("slices", subsets=tiny_subsets()))
    assert "| t1 | 0.700, 0.600, 80% | 0.700, 0.600, 80% | 0.700, 0.600, 80% | 3 |" in text
    assert "| nothing | 0.900" in text
    assert "`subsets x`" in text
    assert "Patients who lack sequences" not in card(tiny_spec("slices"))


@pytest.mark.parametrize("name", shipped_models())
def test_prose_is_wrapped_and_nothing_is_lost(name):
    text = card(load_model(name).spec)
    assert [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith("|")] == []
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert ", ".join(load_model(name).spec.training.cases) in unwrapped(text)


def test_a_card_without_scores_says_so():
    assert "None were measured." in card(tiny_spec("slices", scores={}))


def test_a_card_of_a_foreign_model_claims_nothing_about_it():
    foreign = {
        "network": "foreign",
        "training": None,
        "foreign": ForeignRecord(origin="A paper.", training="1,251 patients."),
        "receptive_field": None,
    }
    text = card(tiny_spec("volumes", **foreign, attribution=()))
    assert "Not by gliomask. 1,251 patients. Origin: A paper." in unwrapped(text)
    assert "receptive field not known" in text
    assert "has not scored it" in unwrapped(text)
    assert "Patients trained on" not in text


def test_a_card_says_how_long_a_case_takes_where_that_was_measured():
    assert "A case takes 9 s: on paper (`clock`)." in card(
        tiny_spec("slices", timing=Timing(seconds=9.0, conditions="on paper", command="clock"))
    )
    assert "A case takes" not in card(tiny_spec("slices"))
