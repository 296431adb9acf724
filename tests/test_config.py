import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomask import augment
from gliomask.errors import EngineUnavailableError, UsageError
from gliomask.sequences import Sequence
from gliomask.training.config import PAPER_WEIGHTS, TrainConfig, describe_config, make_config


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_paper_recipe_is_the_authors():
    # training.py and model.py of the authors' repository.
    config = make_config("paper")
    assert (config.optimiser, config.learning_rate, config.decay_per_epoch) == ("sgd", 1e-3, 0.99)
    assert (config.batch_size, config.epochs, config.patience) == (8, 100, 10)
    assert (config.normalisation, config.patch_size, config.sampling) == ("slice", 64, "equal")
    assert (config.class_weights, PAPER_WEIGHTS) == ("paper", (0.28, 0.08, 0.43, 0.21))
    assert (config.dice_weight, config.average, config.clip_norm) == (0, 0, 0)
    assert config.augmentation.strength() == augment.NONE


def test_the_default_augmentation_is_the_one_of_the_augmentation_code():
    assert make_config().augmentation.strength() == augment.Strength()


@pytest.mark.parametrize("name", ["dense", "DenseMultiOCM", "densemultiocm"])
def test_networks_go_by_their_short_name_or_title(name):
    assert make_config(network=name).network == "dense"


@pytest.mark.parametrize("recipe", ["paper", "default", "unet"])
def test_what_is_shown_reads_back(recipe, written):
    config = make_config(recipe)
    assert make_config(None, written(describe_config(config))) == config
    assert make_config(recipe, written(describe_config(config))) == config


NUMBERS = st.floats(0, 10, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    weights=st.one_of(
        st.sampled_from(["uniform", "paper", "inverse-frequency"]),
        st.tuples(NUMBERS, NUMBERS, NUMBERS, st.floats(0.001, 10)),
    ),
    rate=st.floats(1e-12, 10),
    sequences=st.permutations(list(Sequence)),
    patience=st.one_of(st.none(), st.integers(1, 100)),
    noise=st.floats(0, 1e6),
)
def test_any_configuration_reads_back(tmp_path_factory, weights, rate, sequences, patience, noise):
    config = make_config(
        class_weights=weights,
        learning_rate=rate,
        sequences=sequences,
        patience=patience,
        validation_share=0.2,
        augmentation={"noise": noise},
    )
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(describe_config(config), encoding="utf-8")
    assert make_config(None, path) == config


def test_every_field_is_explained():
    text = describe_config(make_config()).splitlines()
    fields = [n for n, line in enumerate(text) if not line.lstrip().startswith("#")]
    assert len(fields) == len(TrainConfig.model_fields) + len(augment.NONE.__dataclass_fields__)
    for n in fields:
        assert text[n - 1].lstrip().startswith("# ")
        assert len(text[n - 1].strip()) > 10


def test_file_goes_over_recipe_and_options_over_file(written):
    file = written("recipe: paper\nepochs: 7\nseed: 3\n")
    config = make_config(None, file, epochs=9, threads=None)
    assert (config.recipe, config.optimiser, config.epochs, config.seed) == ("paper", "sgd", 9, 3)


def test_a_recipe_that_contradicts_the_file_is_refused(written):
    with pytest.raises(UsageError, match="its recipe is 'paper', but 'default' was asked for"):
        make_config("default", written("recipe: paper\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3\n", "config.yaml: epoch: Extra inputs are not permitted"),
        ("epochs: many\n", "epochs: .*integer"),
        ("patch_size: 63\n", "patch_size: .*multiple of 2"),
        ("augmentation: {noise: -1}\n", "augmentation.noise: .*greater than or equal to 0"),
        ("learning_rate: .inf\n", "learning_rate: .*finite"),
        ("class_weights: [1, 2, 3]\n", "class_weights"),
        ("class_weights: [1, -2, 3, 1]\n", "class_weights"),
        ("class_weights: [0, 0, 0, 0]\n", "class_weights needs a weight above 0"),
        ("sequences: [t1, t1]\n", "names one sequence twice"),
        ("sequences: []\n", "sequences"),
        ("patience: 3\n", "patience needs a validation_share"),
        ("network: resnet\n", "There is no network 'resnet'. Known ones: sparse, input-sparse, dense, unet"),
        ("network: unet\npatch_size: 72\n", "patch_size must be a multiple of 16 for the network 'unet'; it is 72"),
        ("sequences: [t1, t2]\nsequence_dropout: 0.5\n", "none of t1, t2 can be left out"),
        ("cross_entropy: regions\nclass_weights: paper\n", "class_weights have no meaning"),
        ("seed: 4294967296\n", "seed"),
        ("planes: [axial, axial]\n", "names one plane twice"),
        ("planes: [oblique]\n", "planes"),
        ("planes: []\n", "planes"),
        ("case_weights: {a: 2.0}\n", "case_weights go with the sampling 'regions' only"),
        ("sampling: regions\ncase_weights: {a: 0.0}\n", "case_weights"),
        ("recipe: quick\n", "There is no recipe 'quick'"),
        ("- epochs\n", "a mapping of field names to values is needed; found list"),
        ("1: 2\n", "a mapping of field names"),
        ("epochs: [\n", "cannot be read as YAML"),
        ("!!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    ],
)
def test_refusals_name_the_field(written, text, message):
    with pytest.raises(UsageError, match=message):
        make_config(None, written(text))


def test_a_file_that_is_absent_or_no_text(tmp_path):
    with pytest.raises(UsageError, match="absent.yaml: cannot be read as YAML"):
        make_config(None, tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UsageError, match="bytes.yaml: cannot be read as YAML"):
        make_config(None, tmp_path / "bytes.yaml")


def test_without_pyyaml_the_extra_is_named(monkeypatch, written):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert make_config("paper").epochs == 100
    for use in (lambda: describe_config(make_config()), lambda: make_config(None, written("epochs: 3\n"))):
        with pytest.raises(EngineUnavailableError, match=r"pip install 'gliomask\[train\]'"):
            use()


def test_the_unet_has_a_recipe_of_its_own(written):
    config = make_config(network="unet")
    assert (config.recipe, config.patch_size, config.cross_entropy, config.placement) == (
        "unet",
        128,
        "regions",
        "inside",
    )
    assert make_config(None, written("network: unet\n")) == config
    assert make_config("unet") == config
    assert make_config("default", network="unet").patch_size == 64
    assert make_config(network="dense").recipe == "default"
