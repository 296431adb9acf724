import pytest

from gliomask.errors import CaseError, UsageError
from gliomask.study.config import make_study
from gliomask.study.plan import Task, TaskKind, make_plan
from gliomask.study.read import read_study

FOLDS = {f"case{n}": n % 3 for n in range(9)}


def plan(*experiments, folds=FOLDS, cases=None, **fields):
    rows = [{"name": "base"}, *experiments]
    return make_plan(
        make_study({"baseline": "base", "experiments": rows, **fields}, "study"), folds, list(cases or folds)
    )


def test_the_default_study_trains_twelve_networks_for_its_eighteen_rows():
    default = make_plan(read_study(None), FOLDS, list(FOLDS))
    assert len(default.rows) == 18
    assert len({row.training for row in default.rows.values()}) == 12
    assert len({row.prediction for row in default.rows.values()}) == 14
    kinds = [task.kind for task in default.missing(lambda task: False)]
    assert [kinds.count(kind) for kind in TaskKind] == [3 * 12, 3 * 14, 3 * 18]


def test_rows_share_what_they_do_alike():
    made = plan(
        {"name": "cleaned", "postprocess": "3d"},
        {"name": "cut", "inference": {"patches": "adjacent"}},
        {"name": "the-default-written-out", "training": {"network": "SparseMultiOCM", "seed": 0}},
        {"name": "seed", "training": {"seed": 1}},
    )
    rows = made.rows
    assert (
        rows["base"].training
        == rows["cleaned"].training
        == rows["cut"].training
        == rows["the-default-written-out"].training
    )
    assert rows["base"].training != rows["seed"].training
    assert rows["base"].prediction == rows["cleaned"].prediction == rows["the-default-written-out"].prediction
    assert len({rows[name].prediction for name in ("base", "cut", "seed")}) == 3
    assert made.experiments_of(rows["base"].training) == ["base", "cleaned", "cut", "the-default-written-out"]


def test_steps_come_in_the_order_of_the_rows_each_after_what_it_needs():
    made = plan({"name": "cleaned", "postprocess": "3d"})
    tasks = made.missing(lambda task: False)
    assert [str(task).split("/")[0] for task in tasks] == ["train", "predict", "score"] * 3 + ["score"] * 3
    assert [task.fold for task in tasks[:9]] == [0] * 3 + [1] * 3 + [2] * 3
    for n, task in enumerate(tasks):
        need = made.need(task)
        assert need is None or need in tasks[:n]


def test_what_a_finished_step_rests_on_is_not_asked_for():
    made = plan({"name": "cleaned", "postprocess": "3d"}, {"name": "cut", "inference": {"patches": "adjacent"}})
    done = {Task(TaskKind.SCORE, "base", fold) for fold in range(3)} | {
        Task(TaskKind.PREDICT, made.rows["base"].prediction, 0)
    }
    tasks = made.missing(done.__contains__, ("cleaned",))
    training, prediction = made.rows["base"].training, made.rows["base"].prediction
    assert tasks[0] == Task(TaskKind.SCORE, "cleaned", 0)
    assert tasks[1:4] == [
        Task(TaskKind.TRAIN, training, 1),
        Task(TaskKind.PREDICT, prediction, 1),
        Task(TaskKind.SCORE, "cleaned", 1),
    ]
    with pytest.raises(UsageError, match="There is no experiment 'absent'. There are: base, cleaned, cut"):
        made.missing(done.__contains__, ("absent",))


def test_steps_are_written_and_read():
    task = Task(TaskKind.PREDICT, "sparse-0123abcd-adjacent-64", 3)
    assert Task.parse(str(task)) == task
    for text in ("predict/a", "dream/a/0", "train/a/b"):
        with pytest.raises(UsageError, match="is no step of a study"):
            Task.parse(text)


def test_cases_come_from_the_folds_that_are_held_out():
    made = plan(folds=FOLDS, cases=[f"case{n}" for n in range(7)])
    assert made.cases(0) == ["case0", "case3", "case6"]
    assert made.cases(1) == ["case1", "case4"]


def test_impossible_folds_are_refused():
    with pytest.raises(
        UsageError,
        match=r"Fold 7 is to be held out, but no case is in it. The cases that are there are in the folds \[0, 1, 2\]",
    ):
        make_plan(
            make_study({"baseline": "a", "experiments": [{"name": "a"}], "folds": [0, 7]}, "study"), FOLDS, list(FOLDS)
        )
    with pytest.raises(UsageError, match="All 3 cases are in fold 1, which leaves none to train on"):
        plan(cases=["case1", "case4", "case7"])
    with pytest.raises(CaseError, match="1 cases are not in the table of folds: stranger"):
        plan(cases=[*FOLDS, "stranger"])
