"""A whole study on tiny patients: its networks are the one made by hand, so that nothing is trained; all else is
real.
"""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import make_tiny_case, tiny_labels, write_brats_case
from fakes import write_tiny_model

from gliomask.cli.main import run
from gliomask.errors import FileFormatError, UsageError
from gliomask.evaluate import evaluate
from gliomask.io.brats import find_cases
from gliomask.labels import Region
from gliomask.study.config import make_study
from gliomask.study.folder import StudyFolder
from gliomask.study.plan import Task, TaskKind
from gliomask.study.run import StudyOutcome, StudySettings, open_study, plan_study, run_study, work_off
from gliomask.study.work import do_task
from gliomask.training.lock import locked

FOLDS = {"case0": 0, "case1": 0, "case2": 1, "case3": 1}
STUDY = {
    "title": "A try",
    "patches": None,
    "training": {"epochs": 2},
    "baseline": "base",
    "experiments": [
        {"name": "base", "title": "The base"},
        {"name": "cleaned", "postprocess": "1"},
        {"name": "cut", "inference": {"patches": "adjacent", "patch_size": 8}},
        {"name": "weighted", "training": {"class_weights": "paper"}},
    ],
    "comparisons": [
        {"name": "cleaning", "title": "Cleaning", "question": "Does it help?", "experiments": ["cleaned"]},
        {"name": "others", "title": "Others", "baseline": "cleaned", "experiments": ["cut", "weighted"]},
    ],
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "cases"
    for n in range(4):
        write_brats_case(folder, make_tiny_case(f"case{n}", seed=n), tiny_labels())
    return folder


@dataclass
class Silent:
    """Keeps what it is told."""

    notes: list = field(default_factory=list)
    begun: list = field(default_factory=list)
    failures: dict = field(default_factory=dict)

    def started(self, task, left):
        self.begun.append(task)

    def finished(self, task, seconds):
        pass

    def failed(self, task, message):
        self.failures[task] = message

    def note(self, text):
        self.notes.append(text)


@dataclass
class Ended:
    """A step that was done before anyone asked."""

    code: int = 0
    text: str = ""

    def poll(self):
        return self.code

    def message(self):
        return self.text

    def stop(self):
        pass


def here(plan, data, output, broken=()):
    """Does steps in this process, trainings by writing the network made by hand."""
    folder = StudyFolder(output)

    def launch(task):
        if task in broken:
            return Ended(3, "no such luck")
        if task.kind is TaskKind.TRAIN:
            pretend_training(folder, plan, task)
        else:
            do_task(folder, plan, task, data, threads=1, backend="tensorflow", tell=lambda line: None)
        return Ended()

    return launch


def pretend_training(folder, plan, task):
    write_tiny_model(folder.model(task.name, task.fold))
    target = folder.training(task.name, task.fold)
    target.mkdir(parents=True, exist_ok=True)
    (target / "log.csv").write_text("epoch,loss,seconds,waiting_share\n1,0.9,1.5,0\n2,0.5,1.4,0\n", encoding="utf-8")
    record = {
        "config": plan.config(task.name).model_dump(mode="json"),
        "training_cases": [case for case, fold in plan.fold_of.items() if fold != task.fold],
        "patches": 80,
        "hours": 0.25,
        "threads": 1,
        "backend": "tensorflow",
        "device": "cpu",
        "gliomask": "0",
        "keras": "3",
    }
    (target / "train_run.json").write_text(json.dumps(record), encoding="utf-8")


def go(cases, output, only=(), broken=(), **changes):
    plan = plan_study(make_study(STUDY | changes, "study"), cases, FOLDS)
    display = Silent()
    outcome = run_study(
        plan, cases, output, StudySettings(), display, only=only, launch=here(plan, cases, output, broken)
    )
    return plan, outcome, display


@pytest.fixture(scope="module")
def finished(cases, tmp_path_factory):
    """A study that is done, to be looked at and copied."""
    output = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        plan, outcome, _ = go(cases, output)
    assert not outcome.failed
    assert len(outcome.seconds) == 2 * (2 + 3 + 4)
    go(cases, output)
    return plan, output


def leave_out_pictures(patch):
    """They take most of the time; `finished` draws each once."""
    for name in ("draw_comparison", "draw_curves", "write_panel"):
        patch.setattr(f"gliomask.study.report.{name}", lambda *arguments, **choices: None)


@pytest.fixture
def no_pictures(monkeypatch):
    leave_out_pictures(monkeypatch)


@pytest.fixture
def copied(finished, tmp_path, no_pictures):
    return Path(shutil.copytree(finished[1], tmp_path / "out"))


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"))


def test_everything_is_written_up(finished):
    plan, output = finished
    assert {path.name for path in output.iterdir()} == {
        "study.json",
        "study.md",
        "study_run.json",
        "tables",
        "figures",
        "work",
    }
    assert {path.name for path in (output / "figures").iterdir()} == {
        "cleaning.png",
        "others.png",
        "learning_curves.png",
        "panel.png",
    }
    assert {path.name for path in (output / "tables").iterdir()} == {
        *("summary.tsv", "paired.tsv", "status.tsv", "trainings.tsv", "predictions.tsv", "curves.tsv"),
        "cases",
    }
    assert (output / "work" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    page = (output / "study.md").read_text(encoding="utf-8")
    assert "All 8 cells (experiment and fold) are there." in page
    assert "missing" not in page
    for name in plan.rows:
        assert f"| `{name}`" in page
    for picture in ("cleaning", "others", "learning_curves", "panel"):
        assert f"(figures/{picture}.png)" in page
    record = json.loads((output / "study_run.json").read_text(encoding="utf-8"))
    assert (record["command"], record["cases"], record["folds"], record["failed"], len(record["steps"])) == (
        "study",
        4,
        [0, 1],
        {},
        18,
    )
    trainings = rows(output / "tables" / "trainings.tsv")
    assert [(row["fold"], row["patches"], row["hours"], row["seed"], row["epochs"]) for row in trainings] == [
        (f, "80", "0.25", "0", "2") for f in "0101"
    ]


def test_scores_are_those_of_evaluate(finished, cases):
    plan, output = finished
    folder = StudyFolder(output)
    other = evaluate(folder.prediction(plan.rows["base"].prediction), cases)
    for region in Region:
        for metric in ("dice", "sensitivity", "specificity_grid", "hd95_mm", "prediction_ml"):
            assert folder.read_cells("base").column(region, metric) == pytest.approx(
                other.column(region, metric), rel=1e-5
            )
    summary = {(row["experiment"], row["region"], row["metric"]): row for row in rows(folder.table("summary"))}
    assert float(summary["base", "WT", "dice"]["mean"]) == pytest.approx(
        other.summary[Region.WT]["dice"].mean, rel=1e-4
    )
    assert float(summary["base", "WT", "dice"]["median_low"]) == pytest.approx(
        other.summary[Region.WT]["dice"].median_low, rel=1e-4
    )


def test_differences_are_patient_by_patient(finished):
    folder = StudyFolder(finished[1])
    cells = {name: folder.read_cells(name).column(Region.WT, "dice") for name in finished[0].rows}
    found = {
        (row["comparison"], row["experiment"], row["region"], row["metric"]): row
        for row in rows(folder.table("paired"))
    }
    row = found["others", "cut", "WT", "dice"]
    assert (row["baseline"], row["n"]) == ("cleaned", "4")
    assert float(row["mean"]) == pytest.approx(
        sum(cells["cut"][case] - cells["cleaned"][case] for case in FOLDS) / 4, abs=1e-5
    )
    assert float(row["p_holm"]) >= float(row["p"]) > 0


def test_post_processing_changes_scores_and_cutting_changes_label_maps(finished):
    folder = StudyFolder(finished[1])
    dice = {name: folder.read_cells(name).column(Region.WT, "dice") for name in ("base", "cleaned", "cut", "weighted")}
    assert dice["base"] == dice["weighted"], "both are the network made by hand"
    assert dice["cleaned"] != dice["base"]
    assert dice["cut"] != dice["base"]


def test_what_is_done_is_not_done_again(copied, cases):
    before = {path: path.stat().st_mtime_ns for path in (copied / "work").rglob("*") if path.name != ".lock"}
    _, outcome, display = go(cases, copied)
    assert (outcome.seconds, display.begun) == ({}, [])
    assert display.notes == ["Nothing is missing; the tables and the page are written again."]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(json.loads((copied / "study_run.json").read_text(encoding="utf-8"))["steps"]) == 18


def test_a_study_goes_on_without_its_work(copied, cases):
    tables = {path: path.read_bytes() for path in (copied / "tables").rglob("*.tsv")}
    shutil.rmtree(copied / "work")
    plan, _, display = go(cases, copied)
    assert display.begun == []
    assert {path: path.read_bytes() for path in tables} == tables
    more = [*STUDY["experiments"], {"name": "late", "training": {"sampling": "uniform"}}]
    plan, _, display = go(cases, copied, experiments=more)
    assert {task.name for task in display.begun} == {plan.rows["late"].training, plan.rows["late"].prediction, "late"}
    assert len(rows(copied / "tables" / "trainings.tsv")) == 6


def test_a_half_finished_study_says_what_is_missing(tmp_path, cases, capsys, no_pictures):
    plan, outcome, _ = go(cases, tmp_path / "out", only=("base",))
    assert {task.name for task in outcome.seconds} == {plan.rows["base"].training, plan.rows["base"].prediction, "base"}
    (StudyFolder(tmp_path / "out").training(plan.rows["weighted"].training, 1)).mkdir(parents=True)
    log = StudyFolder(tmp_path / "out").training(plan.rows["weighted"].training, 1) / "log.csv"
    log.write_text("epoch,loss,seconds,waiting_share\n1,0.9,1.5,0\n", encoding="utf-8")
    assert run(["study", "-o", str(tmp_path / "out"), "--status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "experiment  fold 0              fold 1",
        "base        done                done",
        "cleaned     predicted 2 of 2    predicted 2 of 2",
        "cut         trained             trained",
        "weighted    missing             epoch 1 of 2",
        "2 of 8 cells are there.",
    ]
    go(cases, tmp_path / "out", only=("base",))
    page = (tmp_path / "out" / "study.md").read_text(encoding="utf-8")
    assert "**Unfinished: 6 of 8 cells are missing.**" in page
    assert "| `weighted` | missing | epoch 1 of 2 |" in page
    assert "| `cleaned` | 0 | missing | missing | missing | missing | missing | missing |" in page
    assert not math.isnan(float(rows(tmp_path / "out" / "tables" / "summary.tsv")[0]["mean"]))


def test_a_prediction_that_was_cut_short_is_made_again(copied, cases):
    plan = plan_study(make_study(STUDY, "study"), cases, FOLDS)
    folder = StudyFolder(copied)
    place = folder.prediction(plan.rows["base"].prediction)
    (place / "case2_run.json").unlink()
    (place / ".case2_seg.nii.gz.99.part").write_bytes(b"half")
    kept = (place / "case3_seg.nii.gz").stat().st_mtime_ns
    folder.cells("cleaned").unlink()
    _, outcome, _ = go(cases, copied)
    assert [str(task) for task in outcome.seconds] == [
        "score/cleaned/0",
        f"predict/{plan.rows['base'].prediction}/1",
        "score/cleaned/1",
    ]
    assert (place / "case2_run.json").exists()
    assert not list(place.glob(".*"))
    assert (place / "case3_seg.nii.gz").stat().st_mtime_ns == kept


def test_a_step_that_fails_takes_along_those_that_need_it_alone(tmp_path, cases, no_pictures):
    plan = plan_study(make_study(STUDY, "study"), cases, FOLDS)
    broken = Task(TaskKind.TRAIN, plan.rows["base"].training, 1)
    _, outcome, display = go(cases, tmp_path / "out", broken=(broken,))
    assert outcome.exit_code == 3
    assert display.failures == outcome.failed
    assert outcome.failed.pop(broken) == "no such luck"
    assert {task.fold for task in outcome.failed} == {1}
    assert {task.name for task in outcome.failed if task.kind is TaskKind.SCORE} == {"base", "cleaned", "cut"}
    assert Task(TaskKind.SCORE, "weighted", 1) in outcome.seconds
    record = json.loads((tmp_path / "out" / "study_run.json").read_text(encoding="utf-8"))
    assert record["failed"][str(broken)] == "no such luck"
    page = (tmp_path / "out" / "study.md").read_text(encoding="utf-8")
    assert "| `cut` | done | failed |" in page
    assert f"- `{broken}` failed: no such luck\n\n" in page
    assert record["failed"]["score/base/1"] == f"predict/{plan.rows['base'].prediction}/1 failed"
    _, outcome, _ = go(cases, tmp_path / "out")
    assert not outcome.failed
    assert "failed" not in (tmp_path / "out" / "study.md").read_text(encoding="utf-8")


def changed(name, **fields):
    return [experiment | fields if experiment["name"] == name else experiment for experiment in STUDY["experiments"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiments": changed("weighted", training={"class_weights": "uniform"})},
         "'weighted' has results under another definition: training.class"),
        ({"experiments": changed("cleaned", postprocess="3d")}, "experiment 'cleaned' has results under another "
                                                                "definition: postprocess was 1, now 3d"),
        ({"experiments": changed("cut", inference={"patches": "adjacent", "patch_size": 16})},
         "inference.patch_size was 8, now 16"),
        ({"training": {"epochs": 3}}, "experiment 'base' has results under another definition: training.epochs "
                                      "was 2, now 3"),
        ({"policy": "brats2018"}, "made with other policy: policy was brats2020, now brats2018"),
    ],
)  # fmt: skip
def test_a_folder_of_another_study_is_refused(copied, cases, changes, message):
    before = (copied / "study.json").read_bytes()
    with pytest.raises(UsageError) as error:
        go(cases, copied, **changes)
    assert message in str(error.value)
    assert (copied / "study.json").read_bytes() == before


def test_other_folds_of_the_cases_are_refused(copied, cases):
    plan = plan_study(make_study(STUDY, "study"), cases, FOLDS | {"case3": 0})
    with pytest.raises(UsageError, match=r"made with other cases and folds: cases and folds.case3 was 1, now 0"):
        run_study(plan, cases, copied, StudySettings(), Silent(), launch=here(plan, cases, copied))


def test_words_may_change_and_a_definition_from_before_a_field_was_added_holds(copied, cases):
    definition = json.loads((copied / "study.json").read_text(encoding="utf-8"))
    for one in definition["definitions"].values():
        del one["training"]["placement"]
    (copied / "study.json").write_text(json.dumps(definition), encoding="utf-8")
    _, outcome, _ = go(cases, copied, title="Other words", comparisons=STUDY["comparisons"][:1])
    assert not outcome.seconds
    assert (copied / "study.md").read_text(encoding="utf-8").startswith("# Other words\n")


def test_damaged_files_are_named(copied, cases):
    (copied / "tables" / "cases" / "cut.tsv").write_text("case\tregion\ncase0\tWT\textra\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="cut.tsv: not a table that can be read"):
        go(cases, copied)
    (copied / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileFormatError, match="study.json: not the definition of a study"):
        go(cases, copied)


def test_one_study_at_a_time(copied, cases):
    with locked(copied / "work"), pytest.raises(UsageError, match="runs in this folder"):
        go(cases, copied)


@dataclass
class Slow(Ended):
    """Ends when it was asked three times."""

    asked: int = 0

    def poll(self):
        self.asked += 1
        return 0 if self.asked > 2 else None


def test_several_steps_run_at_once_but_none_before_what_it_needs(cases, monkeypatch):
    monkeypatch.setattr("gliomask.study.run.POLL_SECONDS", 0)
    plan = plan_study(make_study(STUDY, "study"), cases, FOLDS)
    running, most = set(), 0

    @dataclass
    class Watched(Slow):
        task: Task = None

        def poll(self):
            code = super().poll()
            if code == 0:
                running.discard(self.task)
            return code

    def launch(task):
        nonlocal most
        need = plan.need(task)
        assert need is None or need in outcome.seconds
        running.add(task)
        most = max(most, len(running))
        return Watched(task=task)

    outcome = StudyOutcome()
    tasks = plan.missing(lambda task: False)
    work_off(plan, tasks, launch, 2, Silent(), outcome, lambda task: None)
    assert most == 2
    assert set(outcome.seconds) == set(tasks)


def test_ctrl_c_stops_what_runs(cases):
    plan = plan_study(make_study(STUDY, "study"), cases, FOLDS)
    stopped = []

    class Interrupting(Ended):
        def poll(self):
            raise KeyboardInterrupt

        def stop(self):
            stopped.append(self)

    with pytest.raises(KeyboardInterrupt):
        work_off(
            plan,
            plan.missing(lambda task: False),
            lambda task: Interrupting(),
            2,
            Silent(),
            StudyOutcome(),
            lambda task: None,
        )
    assert len(stopped) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["CASES"], 2, "DATA and -o are needed"),
        (["-o", "OUT"], 2, "DATA and -o are needed"),
        (["-o", "OUT", "--status"], 2, "holds no study: study.json is missing"),
        (["CASES", "-o", "OUT"], 2, "holds no study yet. Give --folds"),
        (["CASES", "-o", "OUT", "--folds", "absent.csv"], 2, "absent.csv: cannot be read as a table of folds"),
        (
            ["CASES", "-o", "OUT", "--folds", "FOLDS", "--config", "absent.yaml"],
            2,
            "absent.yaml: cannot be read as YAML",
        ),
        (["absent", "-o", "OUT", "--folds", "FOLDS"], 3, "absent: does not exist"),
        (["UNLABELLED", "-o", "OUT", "--folds", "FOLDS"], 3, "1 cases have no reference label map: case9"),
    ],
)
def test_refusals_leave_no_folder(tmp_path, cases, capsys, arguments, code, message):
    pytest.importorskip("yaml", reason="reading a study needs the extra 'train'")
    write_brats_case(tmp_path / "unlabelled", make_tiny_case("case9"))
    (tmp_path / "folds.csv").write_text(
        "case,fold\n" + "".join(f"{case},{fold}\n" for case, fold in FOLDS.items()), encoding="utf-8"
    )
    names = {
        "CASES": cases,
        "OUT": tmp_path / "out",
        "FOLDS": tmp_path / "folds.csv",
        "UNLABELLED": tmp_path / "unlabelled",
    }
    assert run(["study", *[str(names.get(argument, argument)) for argument in arguments]]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_show_config_prints_what_config_reads(tmp_path, capsys):
    pytest.importorskip("yaml", reason="reading a study needs the extra 'train'")
    assert run(["study", "--show-config"]) == 0
    (tmp_path / "study.yaml").write_text(shown := capsys.readouterr().out, encoding="utf-8")
    assert run(["study", "--config", str(tmp_path / "study.yaml"), "--show-config"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.train
def test_after_kill_9_nothing_goes_on_and_the_same_command_does(tmp_path, cases):
    pytest.importorskip("tensorflow", reason="training needs the extra 'train'")
    declared = {
        "patches": None,
        "training": {"epochs": 6, "patch_size": 8, "patches_per_class": 1, "batch_size": 2},
        "baseline": "base",
        "experiments": [{"name": "base"}],
        "folds": [0],
    }
    (tmp_path / "study.yaml").write_text(json.dumps(declared), encoding="utf-8")
    (tmp_path / "folds.csv").write_text(
        "case,fold\n" + "".join(f"{case},{fold}\n" for case, fold in FOLDS.items()), encoding="utf-8"
    )
    output = tmp_path / "out"
    command = [sys.executable, "-m", "gliomask", "study", str(cases), "-o", str(output), "--threads", "1"]
    begin = ["--folds", str(tmp_path / "folds.csv"), "--config", str(tmp_path / "study.yaml")]
    with subprocess.Popen([*command, *begin], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (log := next(output.glob("work/trainings/*/fold0/log.csv"), None)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    wait_until_free(log.parent)
    first = log.read_text(encoding="utf-8").splitlines()
    assert len(first) < 7
    assert not (log.parent / "weights.npz").exists()
    plan = open_study(output, cases, None, None)
    task = Task(TaskKind.TRAIN, plan.rows["base"].training, 0)
    told = []
    # Threads stay as they are: TensorFlow may run in this process already.
    do_task(StudyFolder(output), plan, task, cases, threads=None, backend="tensorflow", tell=told.append)
    assert any("going on after epoch" in line for line in told)
    after = log.read_text(encoding="utf-8").splitlines()
    assert after[: len(first)] == first
    assert len(after) == 7
    assert StudyFolder(output).done(plan, task)
    assert {case.case_id for case in find_cases(cases)} == set(plan.fold_of)


def wait_until_free(folder):
    """Waits until no process holds the training's lock."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with locked(folder):
                return
        except UsageError:
            assert time.monotonic() < deadline, "the training went on behind the back of whoever killed the study"
            time.sleep(0.05)
