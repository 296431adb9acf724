"""`gliomask models`: what is listed is what model.json says, quickly and without the heavy parts; verify names the file
that is at fault.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fakes import tiny_spec, tiny_subsets, write_tiny_model

from gliomask.cli import model_text
from gliomask.cli.main import run
from gliomask.models import available
from gliomask.models.calibration import Quality, QualityLine
from gliomask.models.registry import load_model, shipped_models
from gliomask.models.spec import spec_bytes

HEAVY = {
    "openvino",
    "onnxruntime",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "onnx",
    "pydantic",
    "numpy",
    "nibabel",
    "scipy",
    "matplotlib",
    "rich",
}
LIST_SECONDS = 0.2

LOADED = """
import sys, time
from gliomask.cli.main import run
code = run(sys.argv[1:])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(code, time.process_time())
"""


def run_cold(*arguments: str) -> tuple[set[str], float]:
    """Packages that a command loads in a process of its own, and the seconds of the processor from the process's
    start.
    """
    result = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    *_, loaded, end = result.stdout.splitlines()
    assert end.split()[0] == "0"
    return set(loaded.split()), float(end.split()[1])


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["info", "sparse"], ["info", "sparse", "--json"]])
def test_listing_and_describing_load_nothing_heavy_and_are_quick(arguments):
    # Seconds of the processor, which a busy machine stretches less; the best of three.
    found = [run_cold("models", *arguments) for _ in range(3)]
    assert found[0][0] & HEAVY == set()
    assert min(seconds for _, seconds in found) < LIST_SECONDS


@pytest.mark.parametrize("name", shipped_models())
def test_what_is_shown_is_what_the_checked_description_says(name, capsys):
    assert run(["models", "info", name, "--json"]) == 0
    found, model = json.loads(capsys.readouterr().out), load_model(name)
    spec = model.spec
    assert (found["name"], found["parameters"], found["sha256"], found["licence"]) == (
        name,
        spec.parameters,
        model.sha256,
        spec.licence,
    )
    assert found["needs"] == list(map(str, spec.inputs))
    assert found["may_miss"] == list(map(str, spec.may_miss))
    for region, figures in found["dice"].items():
        assert figures.items() <= spec.scores["regions"][region]["dice"].items()
        assert {"median", "median_low", "median_high"} <= set(figures)
    assert found["seconds"] == (spec.timing.seconds if spec.timing else None)
    assert run(["models", "list"]) == 0
    assert name in capsys.readouterr().out


def test_what_was_not_measured_is_said_to_be_so(tmp_path, capsys):
    folder = write_tiny_model(tmp_path / "tiny")
    assert run(["models", "info", str(folder)]) == 0
    page = capsys.readouterr().out
    assert "Dice        not measured" in page
    assert "seconds     not measured" in page
    assert "2 patients, 40 patches" in page
    assert "not measured" in model_text.table([available.summarise(folder)])
    some = {
        "regions": {"WT": {"dice": {"median": 0.9, "median_low": 0.8, "median_high": 0.95, "mean": 0.8}}},
        "cases": 7,
    }
    (folder / "model.json").write_bytes(spec_bytes(tiny_spec("slices", scores=some)))
    assert "0.900 / ? / ?" in model_text.table([available.summarise(folder)])
    assert "median 0.900 (95 %: 0.800 to 0.950), mean 0.800 (no interval)" in model_text.page(
        available.summarise(folder)
    )


def test_what_a_models_own_estimates_are_worth_is_told(tmp_path, capsys):
    folder = write_tiny_model(tmp_path / "tiny")
    assert "estimates   none: how sure it is was not calibrated" in model_text.page(available.summarise(folder))
    line = QualityLine(intercept=-1.0, slope=2.0, below=0.2, above=0.1, spearman=0.65, held=0.83, width=0.27)
    lines = {"WT": line, "TC": line, "ET": line.model_copy(update={"spearman": None})}
    quality = Quality(
        regions=lines,
        coverage=0.8,
        cases=65,
        flagged=9,
        worst=10,
        worst_flagged=6,
        protocol="By hand.",
        command="calibrate x",
    )
    (folder / "model.json").write_bytes(spec_bytes(tiny_spec("slices", quality=quality)))
    assert run(["models", "info", str(folder)]) == 0
    page = capsys.readouterr().out
    assert "estimate TC rank correlation 0.65; 83% of 65 cases in the interval, which is 0.27 wide (median)" in page
    assert "estimate ET rank correlation not measured" in page


def test_what_missing_sequences_cost_is_told(tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    (folder / "model.json").write_bytes(spec_bytes(tiny_spec("slices", subsets=tiny_subsets())))
    summary = available.summarise(folder)
    assert summary.lacking == {
        "nothing": dict.fromkeys(("WT", "TC", "ET"), 0.9),
        "t1": dict.fromkeys(("WT", "TC", "ET"), 0.7),
    }
    assert "lacking     t1: median Dice WT 0.700, TC 0.700, ET 0.700, alone" in model_text.page(summary)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"name": 1}'])
def test_a_description_that_cannot_be_read_is_a_model_error(tmp_path, capsys, content):
    folder = write_tiny_model(tmp_path / "tiny")
    (folder / "model.json").write_text(content)
    assert run(["models", "info", str(folder)]) == 4
    assert "model.json: not a model file" in capsys.readouterr().err


def test_verify_proves_every_installed_engine_and_names_the_damaged_file(tmp_path, capsys):
    folder = write_tiny_model(tmp_path / "tiny")
    assert run(["models", "verify", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[0]
    assert found["sound"]
    assert found["engines"]["openvino"] < 1e-4
    assert "cannot run it" in found["engines"]["keras"]
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1] + b"x")
    assert run(["models", "verify", str(folder)]) == 4
    error = capsys.readouterr().err
    assert "NOT SOUND" in error
    assert "model.onnx: altered or damaged" in error


def test_verify_finds_a_graph_that_answers_otherwise(tmp_path, capsys):
    folder = write_tiny_model(tmp_path / "tiny")
    fields = json.loads((folder / "model.json").read_text())
    fields["inputs"] = ["t1", "flair", "t1ce", "t2"]
    (folder / "model.json").write_text(json.dumps(fields))
    assert run(["models", "verify", str(folder)]) == 4
    error = capsys.readouterr().err
    assert "does not reproduce its golden pair" in error
    assert "openvino: failed" in error


def test_adopt_asks_for_what_is_missing(tmp_path, capsys):
    folder = write_tiny_model(tmp_path / "tiny")
    assert run(["models", "adopt", str(folder / "model.onnx")]) == 2
    assert "--orientation" in capsys.readouterr().err
    options = [
        "--inputs",
        "flair,t1,t1ce,t2",
        "--outputs",
        "background,necrotic,oedema,enhancing",
        "--activation",
        "none",
        "--layout",
        "channels_last",
    ]
    options += ["--orientation", "LPS", "--normalisation", "volume", "--size-multiple", "2", "--halo", "3"]
    options += ["--licence", "x", "--origin", "x", "--training", "x"]
    assert run(["models", "adopt", str(folder / "model.onnx"), *options]) == 2
    assert "Give -o" in capsys.readouterr().err
    assert run(["models", "adopt", str(folder / "model.onnx"), "-o", str(tmp_path / "taken-in"), *options]) == 0
    assert load_model(tmp_path / "taken-in").spec.name == "taken-in"
