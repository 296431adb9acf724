from pathlib import Path

import pytest

from gliomask.errors import UsageError
from gliomask.study.config import describe_study, make_study, train_config
from gliomask.study.read import read_study

pytest.importorskip("yaml", reason="reading a study needs the extra 'train'")

DOCS = Path(__file__).resolve().parents[1] / "docs" / "study"


def study(**changes):
    fields = {
        "patches": None,
        "baseline": "base",
        "experiments": [{"name": "base"}, {"name": "other", "training": {"network": "dense"}}],
        "comparisons": [{"name": "networks", "title": "Networks", "experiments": ["other"]}],
    }
    return fields | changes


def test_the_default_study_reads_back(tmp_path):
    (tmp_path / "study.yaml").write_text(describe_study(read_study(None)), encoding="utf-8")
    assert read_study(tmp_path / "study.yaml") == read_study(None)


def test_the_default_study_varies_one_thing_at_a_time():
    default = read_study(None)
    base = train_config(default, default.by_name[default.baseline])
    for experiment in default.experiments:
        config = train_config(default, experiment)
        changed = {name for name in type(config).model_fields if getattr(config, name) != getattr(base, name)}
        steps = (
            bool(changed)
            + (experiment.inference != default.by_name[default.baseline].inference)
            + (experiment.postprocess != "none")
        )
        assert steps == (experiment.name != default.baseline), experiment.name
        assert len(changed) <= 1 or changed == {"patch_size", "patches_per_class", "batch_size"}


def test_the_small_study_of_the_documentation_is_the_default_one_on_a_smaller_budget_and_the_two_recipes():
    small, default = read_study(DOCS / "small.yaml"), read_study(None)
    assert {name: small.by_name[name] for name in default.by_name} == default.by_name
    assert set(small.by_name) - set(default.by_name) == {"recipe-default", "recipe-paper"}
    assert small.comparisons[:-1] == default.comparisons
    assert (small.patches, small.folds) == (4000, (0,))


def test_the_budget_is_the_same_number_of_pixels_whatever_a_patch_measures():
    default = read_study(None)
    pixels = {}
    for experiment in default.experiments:
        config = train_config(default, experiment, training_cases=52)
        pixels[experiment.name] = config.epochs * 52 * 4 * config.patches_per_class * config.patch_size**2
    assert pixels["sparse"] == 26_000 * 64 * 64
    assert max(pixels.values()) < 1.05 * min(pixels.values())


def test_fields_of_the_study_go_under_those_of_an_experiment_and_over_the_recipe():
    made = make_study(study(training={"recipe": "paper", "epochs": 3, "seed": 5}), "study")
    base, other = (train_config(made, experiment) for experiment in made.experiments)
    assert (base.optimiser, base.epochs, base.seed, base.network) == ("sgd", 3, 5, "sparse")
    assert other == base.model_copy(update={"network": "dense"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": []}, "experiment: Extra inputs are not permitted"),
        ({"experiments": [{"name": "base", "patchsize": 3}]}, "experiments.base.patchsize: Extra inputs"),
        ({"experiments": [{"name": "base"}, {"name": "base"}]}, "experiments: 'base' stands twice"),
        ({"experiments": [{"name": "Base/1"}]}, "experiments.Base/1.name: String should match"),
        ({"experiments": []}, "experiments: Tuple should have at least 1 item"),
        ({"experiments": [{"name": "base", "postprocess": "2"}]}, "there is no post-processing '2'; known ones: none"),
        ({"experiments": [{"name": "base", "postprocess": 1}]}, "postprocess: Input should be a valid string"),
        (
            {"experiments": [{"name": "base", "inference": {"patches": "some"}}]},
            "experiments.base.inference.patches: Input should be 'whole'",
        ),
        (
            {"experiments": [{"name": "base", "training": {"netwrk": "dense"}}], "comparisons": []},
            "experiment 'base': training: netwrk: Extra inputs",
        ),
        (
            {"experiments": [{"name": "base", "training": {"network": "x"}}], "comparisons": []},
            "experiment 'base': training: network: There is no network 'x'",
        ),
        ({"training": {"recipe": "quick"}}, "there is no recipe 'quick'"),
        ({"training": {"threads": 2}}, "threads belongs to the machine"),
        ({"patches": 100, "training": {"epochs": 2}}, "Give patches or epochs, not both"),
        ({"baseline": "absent"}, "baseline 'absent' is no experiment; there are base, other"),
        (
            {"comparisons": [{"name": "a", "title": "A", "experiments": ["absent"]}]},
            "comparison 'a' names 'absent', which is no experiment",
        ),
        (
            {"comparisons": [{"name": "a", "title": "A", "baseline": "no", "experiments": ["other"]}]},
            "comparison 'a' names 'no', which is no experiment",
        ),
        (
            {"comparisons": [{"name": "a", "title": "A", "experiments": ["base"]}]},
            "comparison 'a': 'base' stands twice",
        ),
        ({"folds": [0, 0]}, "folds: '0' stands twice"),
        ({"policy": "brats1999"}, "there is no policy 'brats1999'"),
    ],
)
def test_refusals_name_the_place(changes, message):
    with pytest.raises(UsageError) as error:
        make_study(study(**changes), "study.yaml")
    assert str(error.value).startswith("study.yaml: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "a mapping of field names"), ("a: [\n", "cannot be read as YAML")]
)
def test_a_file_that_is_no_mapping(tmp_path, text, message):
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(UsageError, match="absent.yaml: cannot be read"):
        read_study(tmp_path / "absent.yaml")
