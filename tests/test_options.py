"""Every option is described once; the command line, Python, the run record and the documents agree because they are
made from that.
"""

import dataclasses
import importlib.util
from dataclasses import fields
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

import gliomask
from gliomask.cli import bids, cohort, segment
from gliomask.cli.options import chosen
from gliomask.errors import UsageError
from gliomask.labels import convention
from gliomask.postprocess import CHAINS
from gliomask.results.layout import report_formats
from gliomask.segmentation.deliver import asked_options
from gliomask.segmentation.options import Delivery, Options, default_of, described, from_names, options_table
from gliomask.segmentation.outcome import Asked
from gliomask.sequences import Sequence

ROOT = Path(__file__).resolve().parents[1]


def parsed(command, *arguments):
    """What click makes of arguments, without running the command."""
    with command.make_context("x", list(arguments), resilient_parsing=False) as context:
        return context.params


def test_the_page_is_current():
    # If not: python scripts/write_options.py
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "scripts/write_options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == module.page()


@pytest.mark.parametrize("model", [Options, Delivery])
def test_every_option_is_described(model):
    # What the server alone sets is no option of a user.
    own = [one.name for one in dataclasses.fields(model) if one.name != "absolute_paths"]
    assert own == list(described(model))
    for one, spec in described(model).values():
        assert spec.help.endswith("."), one.name
        assert all(flag.startswith("--") for flag in spec.flags), one.name
        assert Version(spec.since) <= Version(gliomask.__version__), one.name
        assert f"`{one.name}`" in options_table(model)


@pytest.mark.parametrize("model", [Options, Delivery])
def test_the_command_has_every_option_and_python_its_defaults(model):
    names = {parameter.name for parameter in segment.command.params if isinstance(parameter, click.Option)}
    assert set(described(model)) <= names
    assert chosen(model, parsed(segment.command, "case", "-o", "out")) == model()


def test_bids_has_the_options_of_the_computation_but_those_of_one_patient():
    names = {parameter.name for parameter in bids.command.params}
    assert set(described(Options)) - names <= {
        "brain_mask",
        "engine",
        "patches",
        "patch_size",
        "stride",
        "bias_correction",
        "skip",
        "transforms",
    }


def test_what_is_typed_is_what_python_gets():
    typed = parsed(
        segment.command, "case", "-o", "out", "--flips", "--no-core-rule", "--skip", "frame, mask", "--threads", "3",
        "--space", "flair", "--space", "t2", "--report", "HTML,json", "--no-preview", "--labels", "brats2023",
    )  # fmt: skip
    assert chosen(Options, typed) == Options(flips=True, core_rule=False, skip=("frame", "mask"), threads=3)
    expected = Delivery(
        labels="brats2023", spaces=(Sequence.FLAIR, Sequence.T2), report=("html", "json"), preview=False
    )
    assert chosen(Delivery, typed) == expected
    assert expected.labels == convention("brats2023")


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (Options, {"raw": "sometimes"}, "sometimes"),
        (Options, {"threads": 0}, "at least 1"),
        (Options, {"threads": 10**6}, "up to 4,096"),
        (Options, {"max_memory_mb": 0}, "from 1 to"),
        (Options, {"max_memory_mb": 10**400}, "from 1 to"),
        (Options, {"network": "dense"}, "Unknown options: network"),
        (Options, {"skip": ("frame", "registration")}, "no step 'registration' to skip"),
        (Delivery, {"labels": "mine"}, "label convention"),
        (Delivery, {"report": "docx"}, "report format"),
        (Delivery, {"spaces": ("pet",)}, "pet"),
    ],
)
def test_what_no_option_can_be_is_refused(model, values, message):
    with pytest.raises(UsageError, match=message):
        from_names(model, values)


def test_no_report_format_at_all_is_refused_where_one_was_typed():
    with pytest.raises(UsageError, match="report format"):
        report_formats(" , ")
    assert report_formats(()) == ()


def test_the_record_holds_every_option_that_a_result_depends_on():
    plain = {name: default_of(one) for name, (one, _) in described(Options).items()}
    recorded = asked_options(Asked(("m", "s"), None, plain, 1), Delivery(report=("html",), deface=True))
    assert (set(described(Options)) | set(described(Delivery))) - set(recorded) == {"strict", "overwrite"}


def drawn(model):
    """Values of options, some of them given: flags, choices, and lists of what has names."""
    lists = {
        "spaces": st.lists(st.sampled_from([sequence.value for sequence in Sequence]), max_size=4),
        "report": st.lists(st.sampled_from(("html", "pdf", "json", "HTML")), max_size=4),
        "labels": st.sampled_from(("brats2021", "brats2023", "decathlon")),
    }
    known = {}
    for name, (_, spec) in described(model).items():
        if name in lists:
            known[name] = lists[name]
        elif spec.kind == "flag":
            known[name] = st.booleans()
        elif spec.choices:
            known[name] = st.sampled_from(spec.choices)
    return st.fixed_dictionaries({}, optional=known)


@given(st.data(), st.sampled_from((Options, Delivery)))
@settings(max_examples=60)
def test_options_made_of_options_are_the_same(data, model):
    values = data.draw(drawn(model))
    made = from_names(model, values)
    assert from_names(model, {field.name: getattr(made, field.name) for field in fields(model)}) == made
    for name, value in values.items():
        if isinstance(value, bool):
            assert getattr(made, name) is value
        if isinstance(value, list):
            # Named once each, in the order in which they were given, whatever their capitals.
            assert getattr(made, name) == tuple(dict.fromkeys(one.lower() for one in value))


@given(st.text(min_size=1, max_size=20), st.sampled_from((Options, Delivery)))
@settings(max_examples=60)
def test_an_option_that_is_none_is_refused_by_its_name(name, model):
    if name in described(model):
        return
    with pytest.raises(UsageError):
        from_names(model, {name: True})


def test_an_earlier_name_works_and_warns():
    with pytest.warns(DeprecationWarning, match="second_opinion is now called ensemble_member"):
        assert from_names(Options, {"second_opinion": "none"}) == Options(ensemble_member="none")
    with pytest.raises(UsageError, match="earlier name of ensemble_member"):
        from_names(Options, {"second_opinion": "none", "ensemble_member": "sparse"})


@pytest.mark.parametrize("command", [segment.command, cohort.command.commands["run"], bids.command])
@pytest.mark.parametrize("typed", [("--second-opinion", "none"), ("--second-opinion=none",)])
def test_an_earlier_flag_works_with_a_note(command, typed, capsys):
    arguments = ("case", "out", "participant") if command is bids.command else ("case", "-o", "out")
    assert parsed(command, *arguments, *typed)["ensemble_member"] == "none"
    assert "--second-opinion is now called --ensemble-member" in capsys.readouterr().err
    assert "--second-opinion" not in command.get_help(click.Context(command))


def test_the_chains_of_post_processing_are_those_that_there_are():
    assert set(described(Options)["postprocess"][1].choices) == set(CHAINS)


def test_after_two_dashes_nothing_is_a_flag(capsys):
    with pytest.raises(click.UsageError, match="unexpected extra argument"):
        parsed(segment.command, "-o", "out", "--", "case", "--second-opinion", "none")
    assert capsys.readouterr().err == ""
