import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import tiny_answer, tiny_keras, tiny_weights

from gliomask.cli.main import run as run_command
from gliomask.engines.base import AGREEMENT_TOLERANCE, EngineSource
from gliomask.engines.choose import open_engine
from gliomask.engines.fake import FakeEngine
from gliomask.errors import FileFormatError, ModelError, UsageError
from gliomask.models.golden import prove
from gliomask.models.registry import load_model
from gliomask.networks.catalogue import NETWORKS

keras = pytest.importorskip("keras")
pytest.importorskip("onnx")

from gliomask.training.config import TrainConfig  # noqa: E402 - only where Keras is
from gliomask.training.export import GOLDEN_TOLERANCE, export_model  # noqa: E402
from gliomask.training.onnx_graph import to_onnx  # noqa: E402
from gliomask.training.weights import save_weights  # noqa: E402

pytestmark = pytest.mark.train

DETAILS = {
    "name": "trial",
    "licence": "CC-BY-4.0",
    "attribution": ["the people who were scanned"],
    "postprocess": "none",
}
MODEL_FOLDER = ["golden.npz", "model.json", "model.onnx", "weights.npz"]


def write_run(folder: Path, network: str = "sparse", scale: float = 1.0, **config) -> Path:
    """A run folder as a training leaves it, with weights that no training has seen."""
    keras.utils.set_random_seed(1)
    model = NETWORKS[network].build()
    for variable in model.variables:
        variable.assign(scale * np.asarray(variable))
    folder.mkdir(parents=True)
    save_weights(folder / "weights.npz", model)
    record = {
        "gliomask": "0.1.0",
        "keras": keras.__version__,
        "backend": "tensorflow",
        "device": "cpu",
        "threads": 1,
        "config": TrainConfig(network=network, **config).model_dump(mode="json"),
        "fold": 0,
        "training_cases": ["a", "b"],
        "validation_cases": [],
        "held_out_cases": ["c"],
        "patches": 40,
        "hours": 0.01,
    }
    (folder / "train_run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_run(
        tmp_path_factory.mktemp("run") / "sparse",
        normalisation="slice",
        sequences=("t2", "flair", "t1", "t1ce"),
        seed=5,
    )


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "trial"
    return export_model(run_folder, folder, **DETAILS), folder


# The graph.


@pytest.mark.parametrize("kind", ["slices", "volumes"])
def test_a_graph_answers_as_worked_out_in_numpy(kind):
    weights = tiny_weights(kind)
    model = tiny_keras(kind)
    for variable in model.variables:
        variable.assign(weights[variable.path])
    source = EngineSource(to_onnx(model), "tiny", input_kind=kind)
    shape = (2, 6, 10, 4) if kind == "slices" else (2, 4, 6, 8, 4)
    batch = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
        with closing(open_engine(name, source, 1)) as engine:
            np.testing.assert_allclose(
                engine.predict(batch), tiny_answer(batch, weights), rtol=0, atol=AGREEMENT_TOLERANCE
            )


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_engines_agree_on_every_network(tmp_path, network):
    run = write_run(tmp_path / "run", network)
    export_model(run, tmp_path / "model", **DETAILS)
    model = load_model(tmp_path / "model")
    spec = model.spec
    batch = (
        np.random.default_rng(0)
        .standard_normal((2, 2 * spec.size_multiple, 3 * spec.size_multiple, spec.channels))
        .astype(np.float32)
    )
    answers = {}
    for name in ("keras", "openvino", "onnxruntime"):
        pytest.importorskip(name)
        with closing(model.open(name)) as engine:
            assert prove(engine, model.golden, model.spec) <= GOLDEN_TOLERANCE
            answers[name] = engine.predict(batch)
    for name in ("openvino", "onnxruntime"):
        np.testing.assert_allclose(answers[name], answers["keras"], rtol=0, atol=AGREEMENT_TOLERANCE)


def small(*layers):
    image = keras.Input((None, None, 4))
    tensor = image
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(image, tensor)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: keras.layers.Dropout(0.1), "Dropout"),
        (lambda: keras.layers.Conv2D(4, 3, padding="valid"), "padding is valid"),
        (lambda: keras.layers.Conv2D(4, 3, padding="same", strides=2), "strides .* pads one side more"),
        (lambda: keras.layers.Conv2DTranspose(4, 3, padding="same", strides=2), "strides"),
        (lambda: keras.layers.Conv2DTranspose(4, 2, strides=2, activation="relu"), "activation is relu"),
        (lambda: keras.layers.BatchNormalization(scale=False), "scale is False"),
        (lambda: keras.layers.ReLU(6.0), "max_value"),
        (lambda: keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2), "dilation_rate"),
        (lambda: keras.layers.Conv2D(4, 3, padding="same", groups=2), "groups"),
        (lambda: keras.layers.Conv2D(4, 2, padding="same"), "pads one side more"),
        (lambda: keras.layers.Conv2D(4, 3, padding="same", activation="gelu"), "activation is gelu"),
        (lambda: keras.layers.MaxPooling2D(2, strides=1), "strides"),
        (lambda: keras.layers.MaxPooling2D(2, padding="same"), "padding is same"),
        (lambda: keras.layers.UpSampling2D(2, interpolation="bilinear"), "interpolation is bilinear"),
        (lambda: keras.layers.Softmax(axis=1), "axis is 1"),
    ],
)
def test_a_layer_without_counterpart_is_refused(layer, message):
    with pytest.raises(ModelError, match=message):
        to_onnx(small(layer()))


# The model folder.


def test_what_is_written_is_a_model(exported, run_folder):
    spec, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == MODEL_FOLDER
    model = load_model(folder)
    assert model.spec == spec
    assert (spec.name, spec.title, spec.network, spec.parameters, spec.receptive_field) == (
        "trial",
        "SparseMultiOCM",
        "sparse",
        127_876,
        30,
    )
    assert [str(sequence) for sequence in spec.inputs] == ["t2", "flair", "t1", "t1ce"]
    assert (spec.normalisation.method, spec.normalisation.background) == ("slice", -9.0)
    assert spec.training.cases == ("a", "b")
    assert spec.training.seed == 5
    assert spec.training.config == json.loads((run_folder / "train_run.json").read_text())["config"]


def test_the_same_run_gives_the_same_bytes(exported, run_folder, tmp_path):
    _, folder = exported
    export_model(run_folder, tmp_path / "again", **DETAILS)
    for name in MODEL_FOLDER:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


# Refusals.


def test_a_model_is_not_overwritten_unasked(exported, run_folder, tmp_path):
    folder = Path(shutil.copytree(exported[1], tmp_path / "model"))
    changed = DETAILS | {"licence": "MIT", "scores": {"dice_median": {"WT": 0.9, "TC": 0.83, "ET": 0.83}, "cases": 65}}
    with pytest.raises(UsageError, match="--overwrite"):
        export_model(run_folder, folder, **changed)
    assert load_model(folder).spec == exported[0]
    export_model(run_folder, folder, **changed, overwrite=True)
    assert load_model(folder).spec.licence == "MIT"
    assert load_model(folder).spec.scores == changed["scores"]


@pytest.mark.parametrize("missing", ["weights.npz", "train_run.json"])
def test_an_unfinished_training_is_refused(tmp_path, missing):
    run = write_run(tmp_path / "run")
    (run / missing).unlink()
    with pytest.raises(UsageError, match="no finished training"):
        export_model(run, tmp_path / "model", **DETAILS)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"config": {"network": "sparse"}}', '{"config": {"network": "resnet"}}']
)
def test_a_record_that_makes_no_sense_is_refused(tmp_path, content):
    run = write_run(tmp_path / "run")
    (run / "train_run.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"train_run\.json"):
        export_model(run, tmp_path / "model", **DETAILS)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": "My Model"}, "name"), ({"postprocess": "magic"}, "magic"), ({"licence": ""}, "licence")],
)
def test_an_impossible_description_is_refused(run_folder, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        export_model(run_folder, tmp_path / "model", **DETAILS | change)
    assert not (tmp_path / "model").exists()


def test_weights_of_another_network_are_refused(run_folder, tmp_path):
    run = write_run(tmp_path / "run", "dense")
    (run / "weights.npz").write_bytes((run_folder / "weights.npz").read_bytes())
    with pytest.raises(UsageError, match="another network"):
        export_model(run, tmp_path / "model", **DETAILS)


def test_a_network_that_does_not_look_at_its_input_is_refused(tmp_path):
    with pytest.raises(ModelError, match="hardly looks at its input"):
        export_model(write_run(tmp_path / "run", scale=0.0), tmp_path / "model", **DETAILS)
    assert not (tmp_path / "model").exists()


def test_a_wrong_graph_is_refused_before_it_is_written(run_folder, tmp_path, monkeypatch):
    def altered(model):
        for variable in model.variables:
            variable.assign(0.9 * np.asarray(variable))
        return to_onnx(model)

    monkeypatch.setattr("gliomask.training.export.to_onnx", altered)
    with pytest.raises(ModelError, match="does not reproduce its golden pair"):
        export_model(run_folder, tmp_path / "model", **DETAILS)
    assert not (tmp_path / "model").exists()


# The command.


def test_the_command_exports_and_says_what(run_folder, tmp_path, capsys):
    folder = tmp_path / "my-model"
    assert (
        run_command(
            [
                "export",
                str(run_folder),
                "-o",
                str(folder),
                "--licence",
                "CC0-1.0",
                "--attribution",
                "one",
                "--attribution",
                "two",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "SparseMultiOCM, 127,876 parameters, trained on 2 cases, post-processing 3d (components of under half the "
        "largest dropped" in said
    )
    spec = load_model(folder).spec
    assert (spec.name, spec.licence, spec.attribution, spec.postprocess) == (
        "my-model",
        "CC0-1.0",
        ("one", "two"),
        "3d",
    )
    assert run_command(["export", str(run_folder), "-o", str(folder)]) == 2
    assert run_command(["export", str(tmp_path), "-o", str(tmp_path / "other")]) == 2
    assert run_command(["export", str(run_folder), "-o", str(tmp_path / "plain"), "--postprocess", "none"]) == 0
    assert "post-processing none (the network's answer as it is)" in capsys.readouterr().out


def test_the_command_explains_itself(capsys):
    assert run_command(["export", "--help"]) == 0
    assert "gliomask export runs/sparse-all -o models/my-sparse" in capsys.readouterr().out


def test_engines_are_closed_where_the_proof_fails(run_folder, tmp_path, monkeypatch):
    opened = []

    def open_wrong(name, source):
        opened.append(FakeEngine(np.eye(4), source=source))
        return opened[-1]

    monkeypatch.setattr("gliomask.training.export.open_engine", open_wrong)
    with pytest.raises(ModelError, match="does not reproduce its golden pair"):
        export_model(run_folder, tmp_path / "model", **DETAILS)
    assert len(opened) == 1
    with pytest.raises(UsageError, match="closed"):
        opened[0].predict(np.zeros((1, 4, 4, 4), np.float32))
    assert not (tmp_path / "model" / "model.json").exists()
