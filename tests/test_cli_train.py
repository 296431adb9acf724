import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import DEFAULT_SIGNALS, make_tiny_case, tiny_labels, write_brats_case
from stacks import SMALL

from gliomask.cli.main import run
from gliomask.training.config import describe_config, make_config
from gliomask.training.lock import locked

pytestmark = pytest.mark.train

CONFIG = SMALL | {"threads": None}
"""TensorFlow may run in this process already, so its threads stay as they are."""


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "cases"
    for n in range(3):
        write_brats_case(folder, make_tiny_case(f"case{n}", seed=n), tiny_labels())
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(describe_config(make_config(None, None, **CONFIG, epochs=2, average=0.9)), encoding="utf-8")
    return path


@pytest.fixture
def folds(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("case,fold\ncase0,0\ncase1,1\ncase2,1\n", encoding="utf-8")
    return path


def train(*arguments) -> int:
    return run(["train", *map(str, arguments)])


def test_a_run_leaves_everything_and_is_not_repeated(tmp_path, cases, config, folds, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    folder = tmp_path / "runs" / "one"
    command = [
        cases,
        "--config",
        config,
        "--folds",
        folds,
        "--fold",
        0,
        "--network",
        "InputSparseMultiOCM",
        "-o",
        folder,
    ]
    assert train(*command) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"Done: {folder}/weights.npz, 2 epochs in 0.0")
    assert "% of it waiting for patches." in captured.out
    assert "Training on 2 cases: enough to try things out" in captured.err
    assert captured.err.count("epoch ") == 2

    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "checkpoint.npz",
        "curve.png",
        "log.csv",
        "train_run.json",
        "weights.npz",
    }
    record = json.loads((folder / "train_run.json").read_text())
    assert (record["training_cases"], record["validation_cases"], record["held_out_cases"]) == (
        ["case1", "case2"],
        [],
        ["case0"],
    )
    assert (record["fold"], record["backend"], record["config"]["network"], record["patches"]) == (
        0,
        "tensorflow",
        "input-sparse",
        2 * 4 * 4,
    )
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert sum(weights[name].size for name in weights.files) == 130_180

    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}
    assert train(*command) == 0
    assert "this training has finished already, after 2 epochs; nothing was done" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before

    assert train(*command, "--seed", 1) == 2
    assert "other values of seed" in capsys.readouterr().err
    assert train(*command[:-4], "-o", folder, "--network", "sparse") == 2
    assert "other values of network" in capsys.readouterr().err
    with locked(folder):
        assert train(*command) == 2
    assert "another training runs in this folder" in capsys.readouterr().err


def test_weights_read_back_and_fit_their_network_alone(tmp_path):
    pytest.importorskip("keras", reason="training needs the extra 'train'")
    from gliomask.errors import FileFormatError, UsageError
    from gliomask.networks.catalogue import network
    from gliomask.training.weights import load_weights, save_weights

    first, second, other = network("sparse").build(), network("sparse").build(), network("dense").build()
    save_weights(tmp_path / "weights.npz", first)
    load_weights(tmp_path / "weights.npz", second)
    assert all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first.variables, second.variables, strict=True)
    )
    with pytest.raises(UsageError, match="belongs to another network"):
        load_weights(tmp_path / "weights.npz", other)
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="not a file of weights"):
        load_weights(tmp_path / "weights.npz", second)


def test_show_config_needs_nothing_and_reads_back(tmp_path, capsys):
    assert train("--recipe", "paper", "--epochs", 3, "--show-config") == 0
    shown = capsys.readouterr().out
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    assert make_config(None, tmp_path / "shown.yaml") == make_config("paper", epochs=3)
    assert train("--config", tmp_path / "shown.yaml", "--show-config") == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["CASES"], 2, "DATA and -o are needed"),
        (["-o", "OUT"], 2, "DATA and -o are needed"),
        (["CASES", "-o", "OUT", "--fold", "0"], 2, "--folds and --fold go together"),
        (["CASES", "-o", "OUT", "--folds", "FOLDS"], 2, "--folds and --fold go together"),
        (
            ["CASES", "-o", "OUT", "--folds", "FOLDS", "--fold", "7"],
            2,
            "Fold 7 leaves 3 cases to train on and 0 held out",
        ),
        (["CASES", "-o", "OUT", "--epochs", "0"], 2, "epochs: Input should be greater than or equal to 1"),
        (["CASES", "-o", "OUT", "--network", "resnet"], 2, "There is no network 'resnet'"),
        (["CASES", "-o", "OUT", "--config", "absent.yaml"], 2, "absent.yaml: cannot be read as YAML"),
        (["CASES", "-o", "FOLDS"], 2, "is a file. Give a folder"),
        (["absent", "-o", "OUT"], 3, "absent: does not exist"),
        (["UNLABELLED", "-o", "OUT"], 3, "1 cases have no reference label map: case9"),
    ],
)
def test_refusals_leave_no_run_folder(tmp_path, cases, folds, capsys, arguments, code, message):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    unlabelled = tmp_path / "unlabelled"
    write_brats_case(unlabelled, make_tiny_case("case9"))
    names = {"CASES": cases, "OUT": tmp_path / "out", "FOLDS": folds, "UNLABELLED": unlabelled}
    assert train(*[names.get(argument, argument) for argument in arguments]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_results_of_something_else_is_left_alone(tmp_path, cases, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    (tmp_path / "weights.npz").write_bytes(b"mine")
    assert train(cases, "-o", tmp_path) == 2
    assert "holds weights.npz but no checkpoint" in capsys.readouterr().err
    assert (tmp_path / "weights.npz").read_bytes() == b"mine"


def test_what_a_killed_writer_left_is_cleared(tmp_path, cases, capsys):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".checkpoint.npz.123.part").write_bytes(b"half")
    (tmp_path / "out" / "weights.npz").write_bytes(b"mine")
    assert train(cases, "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out" / ".checkpoint.npz.123.part").exists()


def test_control_c_is_130_and_the_same_command_goes_on(tmp_path, cases):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    folder, path = tmp_path / "run", tmp_path / "long.yaml"
    path.write_text(describe_config(make_config(None, None, **SMALL, epochs=100_000, average=0)), encoding="utf-8")
    # A shell that starts a job in the background makes it ignore Ctrl-C, and its children inherit that.
    start_up = DEFAULT_SIGNALS + "from gliomask.cli.main import main; main()"
    command = [sys.executable, "-c", start_up, "train", str(cases), "--config", str(path), "-o", str(folder)]
    for start in (0, 1):
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
        ) as process:
            line = ""
            while not line.startswith("epoch "):
                line = process.stderr.readline()
                assert line, "ended before its first epoch"
                if start:
                    assert (
                        line.startswith(("epoch", "read", "Training on", "Warning: case"))
                        or "going on after epoch" in line
                    )
            assert (line.split()[1] != "1") == bool(start)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            try:
                _, rest = process.communicate(timeout=60)
            finally:
                process.kill()
            assert process.returncode == 130
        assert "last finished epoch is kept" in rest
        assert rest.endswith("Interrupted.\n")
        assert "Traceback" not in rest
    assert {path.name for path in folder.iterdir()} == {".lock", "checkpoint.npz", "curve.png", "log.csv"}


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("train_run.json", "[]", 3, "not the record of a training"),
        ("train_run.json", "{", 3, "not the record of a training"),
        ("train_run.json", "{}", 3, "does not say what its weights were trained on"),
        ("train_run.json", '{"training_cases": 5}', 3, "training_cases: Input should be a valid tuple"),
        ("train_run.json", '{"training_cases": [{}]}', 3, "training_cases.0: Input should be a valid string"),
        ("train_run.json", '{"training_cases": ["x"], "started_from": 7}', 3, "started_from"),
        (
            "train_run.json",
            '{"training_cases": ["x"], "hours": 1' + "0" * 400 + "}",
            3,
            "beyond any that is counted with",
        ),
        ("train_run.json", '{"training_cases": ["\\ud800"]}', 3, "half of a character"),
        ("model.json", '{"cases": ["x"]}', 3, "not a model file that says what its weights were trained on"),
        (
            "model.json",
            '{"training": {"cases": ["case0"]}}',
            2,
            "its weights were trained on cases that are held out here: case0",
        ),
        (
            "train_run.json",
            '{"training_cases": ["x"], "started_from": {"cases": ["case0"]}}',
            2,
            "held out here: case0",
        ),
    ],
)
def test_a_training_to_begin_with_must_say_what_it_has_seen(
    tmp_path, cases, folds, config, capsys, name, content, code, message
):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / name).write_text(content, encoding="utf-8")
    arguments = (
        "--config",
        config,
        "--folds",
        folds,
        "--fold",
        0,
        "--from",
        tmp_path / "start",
        "-o",
        tmp_path / "run",
    )
    assert train(cases, *arguments) == code
    assert message in capsys.readouterr().err
