import importlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import BrittleFake, brittle_source, tiny_answer, tiny_source, tiny_weights

from gliomask.engines.base import AGREEMENT_TOLERANCE, failure
from gliomask.engines.choose import DEFAULT_ENGINE, ENGINES, open_engine
from gliomask.engines.fake import FakeEngine
from gliomask.errors import EngineUnavailableError, LimitError, ModelError, UsageError

SHAPES = {
    "slices": [(1, 6, 10, 4), (3, 16, 12, 4), (2, 2, 2, 4), (1, 6, 10, 4)],
    "volumes": [(1, 4, 6, 8, 4), (2, 6, 4, 2, 4), (1, 4, 6, 8, 4)],
}
KINDS = sorted(SHAPES)
TASKS = Path("/proc/self/task")


def random_batch(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_a_process(code, folder, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.fixture(params=["openvino", "onnxruntime", pytest.param("keras", marks=pytest.mark.train)])
def name(request):
    pytest.importorskip(ENGINES[request.param].package)
    return request.param


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def source(kind):
    return tiny_source(kind)


@pytest.fixture
def engine(name, source):
    # Keras belongs to the process and takes the threads it has.
    with closing(open_engine(name, source, None if name == "keras" else 1)) as opened:
        yield opened


# What every engine promises.


def test_answers_are_those_worked_out_in_numpy(engine, kind):
    for shape in SHAPES[kind]:
        batch = random_batch(shape)
        found = engine.predict(batch)
        assert found.dtype == np.float32
        assert found.shape == (*shape[:-1], 4)
        np.testing.assert_allclose(found, tiny_answer(batch, tiny_weights(kind)), rtol=0, atol=AGREEMENT_TOLERANCE)


def test_is_called_what_it_was_asked_for(engine, name):
    assert engine.name == name


def test_same_batch_gives_the_same_bits(engine, name, source, kind):
    batch = random_batch(SHAPES[kind][1])
    first = engine.predict(batch)
    engine.predict(random_batch(SHAPES[kind][0]))
    assert all(np.array_equal(engine.predict(batch), first) for _ in range(5))
    with closing(open_engine(name, source, None if name == "keras" else 1)) as another:
        assert np.array_equal(another.predict(batch), first)


def test_an_item_does_not_depend_on_its_batch(engine, kind):
    batch = random_batch(SHAPES[kind][1])
    together = engine.predict(batch)
    alone = np.concatenate([engine.predict(batch[n : n + 1]) for n in range(len(batch))])
    np.testing.assert_allclose(together, alone, rtol=0, atol=AGREEMENT_TOLERANCE)


def test_takes_views_and_leaves_its_input_and_earlier_answers_alone(engine, kind):
    batch = random_batch(SHAPES[kind][1])
    expected = engine.predict(batch)
    view = np.asfortranarray(batch)
    view.setflags(write=False)
    first = engine.predict(view)
    engine.predict(batch + 1)
    np.testing.assert_array_equal(first, expected)
    first[:] = 0  # ours to change
    np.testing.assert_array_equal(engine.predict(batch), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:, :-1], "multiples of 2"),
        (lambda b: b[:, :, 1:], "multiples of 2"),
        (lambda b: b[..., :3], "found float32 of shape"),
        (lambda b: b[0], "found float32 of shape"),
        (lambda b: b[None], "found float32 of shape"),
        (lambda b: b[:0], "found float32 of shape"),
        (lambda b: b[:, :0], "found float32 of shape"),
        (lambda b: b.astype(np.float64), "found float64"),
    ],
)
def test_refuses_what_the_network_cannot_take(engine, kind, change, message):
    with pytest.raises(UsageError, match=message):
        engine.predict(change(random_batch(SHAPES[kind][1])))


def test_a_closed_engine_says_so(name, source, kind):
    engine = open_engine(name, source)
    engine.close()
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.predict(random_batch(SHAPES[kind][0]))


# What every engine owes where the software below it fails. The fake is held to it too, for what other tests prove with
# it.


@pytest.fixture(params=["openvino", "onnxruntime", "fake", pytest.param("keras", marks=pytest.mark.train)])
def any_engine(request):
    """Name of an engine, the fake among them."""
    if request.param != "fake":
        pytest.importorskip(ENGINES[request.param].package)
    return request.param


@pytest.fixture(params=[1, 2])
def brittle(request, any_engine):
    """An engine of the network that fails on most sizes, with one thread and with two."""
    if any_engine == "fake":
        yield BrittleFake()
        return
    with closing(open_engine(any_engine, brittle_source(), None if any_engine == "keras" else request.param)) as opened:
        yield opened


def test_a_graph_that_fails_on_its_second_call_raises_and_leaves_the_engine_sound(brittle):
    first, second, third = random_batch((1, 4, 4, 4)), random_batch((1, 6, 6, 4), 1), random_batch((1, 4, 4, 4), 2)
    expected = np.maximum(first, 0)
    np.testing.assert_array_equal(brittle.predict(first), expected)
    for _ in range(2):
        with pytest.raises(ModelError, match="'brittle' with input"):
            brittle.predict(second)
    np.testing.assert_array_equal(brittle.predict(third), np.maximum(third, 0))
    np.testing.assert_array_equal(brittle.predict(first), expected)


def test_a_graph_that_fails_on_its_first_call_raises(brittle):
    with pytest.raises(ModelError, match="'brittle' with input"):
        brittle.predict(random_batch((1, 6, 6, 4)))
    batch = random_batch((1, 4, 4, 4))
    np.testing.assert_array_equal(brittle.predict(batch), np.maximum(batch, 0))


def test_an_answer_of_another_shape_than_its_batch_is_refused(brittle):
    with pytest.raises(ModelError, match=r"shape \(1, 4, 4, 4\); .* it would be \(1, 8, 2, 4\)"):
        brittle.predict(random_batch((1, 8, 2, 4)))


def test_an_answer_that_is_no_number_is_refused(brittle):
    batch = random_batch((1, 4, 4, 4))
    batch[0, 1, 2, 3] = np.inf
    with pytest.raises(ModelError, match="not finite"):
        brittle.predict(batch)


SHORT_OF_MEMORY = """
import resource, sys
import numpy as np
from fakes import tiny_source
from gliomask.engines.choose import open_engine
from gliomask.errors import LimitError
engine = open_engine(sys.argv[1], tiny_source("slices"), int(sys.argv[2]))
small = np.random.default_rng(0).standard_normal((1, 32, 32, 4), np.float32)
large = np.zeros((8, 2048, 2048, 4), np.float32)
expected = engine.predict(small)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
for _ in range(2):
    try:
        engine.predict(large)
    except LimitError as error:
        print(error.exit_code)
    assert np.array_equal(engine.predict(small), expected)
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="limits memory as Linux does")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_no_memory_is_a_limit_error_and_leaves_the_engine_sound(name, threads, tmp_path):
    pytest.importorskip(name)
    result = in_a_process(SHORT_OF_MEMORY, tmp_path, name, str(threads))
    assert (result.returncode, result.stdout.split()) == (0, ["5", "5"]), result.stderr
    assert result.stderr == ""


def test_what_libraries_say_of_memory_is_told_from_other_failures():
    for said in (
        "Failed to allocate 536870912 bytes of memory",
        "std::bad_alloc",
        "OOM when allocating tensor with shape[8,9]",
        "Unable to allocate 12.0 GiB",
    ):
        assert type(failure(RuntimeError(said), "x failed")) is LimitError
    assert type(failure(MemoryError(), "x failed")) is LimitError
    assert type(failure(RuntimeError("a shape conflicts with a pattern"), "x failed")) is ModelError


@pytest.fixture(params=[1, 2])
def shared(request, any_engine):
    """An engine of the tiny network, for several threads, which computes one batch at a time or two."""
    requests = request.param
    fake = any_engine == "fake"
    opened = (
        FakeEngine(np.diag([1.0, 2, 3, 4]), radius=1)
        if fake
        else open_engine(any_engine, tiny_source("slices"), requests=requests)
    )
    with closing(opened) as engine:
        yield engine


def test_threads_that_share_an_engine_get_their_own_answers(shared):
    batches = [random_batch((1 + n % 3, 8 + 2 * (n % 4), 8, 4), n) for n in range(12)]
    expected = [shared.predict(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.predict, batches * 20))
    wrong = [n for n, answer in enumerate(found) if not np.array_equal(answer, expected[n % 12])]
    assert wrong == []


def test_a_failure_in_one_thread_leaves_the_others_their_answers(brittle):
    batches = [random_batch((1, 6, 6, 4) if n % 5 == 0 else (1, 4, 4, 4), n) for n in range(100)]

    def outcome(batch):
        try:
            return brittle.predict(batch)
        except ModelError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(outcome, batches))
    for batch, answer in zip(batches, found, strict=True):
        if batch.shape[1] == 6:
            assert isinstance(answer, ModelError)
        else:
            np.testing.assert_array_equal(answer, np.maximum(batch, 0))


def test_closing_while_others_predict_ends_in_answers_or_refusals(shared):
    batch = random_batch((2, 32, 32, 4))
    expected = shared.predict(batch)

    def outcome(_):
        try:
            return np.array_equal(shared.predict(batch), expected)
        except UsageError as error:
            return "closed" in str(error)

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(outcome, n) for n in range(40)]
        found[5].result()
        shared.close()
    assert all(future.result() is True for future in found)
    with pytest.raises(UsageError, match="closed"):
        shared.predict(batch)


# What depends on the engine.


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_threads_change_the_answer_by_no_more_than_the_tolerance(name, source, kind):
    pytest.importorskip(name)
    batch = random_batch((4, 32, 32, 4) if kind == "slices" else (2, 16, 16, 16, 4))
    answers = []
    for threads in (1, 2):
        with closing(open_engine(name, source, threads)) as engine:
            answers.append(engine.predict(batch))
    np.testing.assert_allclose(answers[0], answers[1], rtol=0, atol=AGREEMENT_TOLERANCE)


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_has_the_settings_it_was_given(threads):
    with closing(open_engine("openvino", tiny_source("slices"), threads)) as engine:
        compiled = engine._idle[0].compiled
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
        assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_onnx_runtime_has_the_threads_it_was_given():
    pytest.importorskip("onnxruntime")
    with closing(open_engine("onnxruntime", tiny_source("slices"), 2)) as engine:
        assert engine._session.get_session_options().intra_op_num_threads == 2


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts threads as Linux shows them")
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_closing_leaves_no_threads_behind(name):
    pytest.importorskip(name)
    source, batch = tiny_source("slices"), random_batch((2, 16, 16, 4))

    def open_use_close():
        with closing(open_engine(name, source, 2)) as engine:
            engine.predict(batch)

    for _ in range(2):  # pools that belong to the process start with the first
        open_use_close()
    before = len(list(TASKS.iterdir()))
    for _ in range(8):
        open_use_close()
    # Such a pool may still grow by a thread or two; engines that leaked would leave eight and more.
    assert len(list(TASKS.iterdir())) <= before + 2


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_graph_that_cannot_run_is_a_model_error(name):
    pytest.importorskip(name)
    with pytest.raises(ModelError, match="'tiny'"):
        open_engine(name, replace(tiny_source("slices"), graph=b"not a graph"))


@pytest.mark.train
def test_keras_refuses_networks_and_weights_that_are_not_its_own():
    pytest.importorskip("keras")
    source = tiny_source("slices")
    with pytest.raises(ModelError, match="no builder"):
        open_engine("keras", replace(source, build=None))
    with pytest.raises(ModelError, match="logits/bias"):
        open_engine(
            "keras",
            replace(source, weights={path: array for path, array in source.weights.items() if path != "logits/bias"}),
        )
    with pytest.raises(ModelError, match="extra"):
        open_engine("keras", replace(source, weights={**source.weights, "extra": np.zeros(1, np.float32)}))


KERAS_THREADS = """
from fakes import tiny_source
from gliomask.engines.choose import open_engine
from gliomask.errors import UsageError
import numpy as np
batch = np.zeros((1, 4, 4, 4), np.float32)
open_engine("keras", tiny_source("slices"), 1).predict(batch)
import tensorflow
assert tensorflow.config.threading.get_intra_op_parallelism_threads() == 1
open_engine("keras", tiny_source("slices"), 1).predict(batch)
try:
    open_engine("keras", tiny_source("slices"), 2)
except UsageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.train
def test_keras_takes_threads_once_and_then_refuses_others(tmp_path):
    pytest.importorskip("tensorflow")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(
        [sys.executable, "-c", KERAS_THREADS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "cannot be set to 2" in result.stdout


# Choosing.


def test_the_default_engine_is_in_the_core_installation():
    assert DEFAULT_ENGINE == "openvino"
    assert next(iter(ENGINES)) == DEFAULT_ENGINE


def test_an_unknown_engine_and_no_threads_are_refused():
    with pytest.raises(UsageError, match="openvino, onnxruntime, keras"):
        open_engine("tensorrt", tiny_source("slices"))
    with pytest.raises(UsageError, match="at least one"):
        open_engine("openvino", tiny_source("slices"), 0)
    with pytest.raises(UsageError, match="at least one batch"):
        open_engine("openvino", tiny_source("slices"), 1, 0)


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", r"gliomask\[onnx\]"), ("keras", r"gliomask\[train\]")])
def test_missing_software_names_the_extra(monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, ENGINES[name].package, None)
    monkeypatch.delitem(sys.modules, f"gliomask.engines.{name}", raising=False)
    with pytest.raises(EngineUnavailableError, match=f"pip install '{extra}'"):
        open_engine(name, tiny_source("slices"))


def test_every_engine_of_the_table_exists():
    for entry in ENGINES.values():
        module = entry.opener.split(":")[0]
        assert importlib.util.find_spec(module) is not None


IMPORTS_NOTHING_HEAVY = """
import sys
import gliomask.engines.choose, gliomask.models.registry
gliomask.models.registry.shipped_models()
engines = {"openvino", "onnxruntime", "keras", "tensorflow", "jax", "torch", "onnx"}
heavy = engines | {"pydantic", "nibabel", "scipy", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
"""

USES_ENGINE = """
import sys
from fakes import tiny_source
from gliomask.engines.choose import open_engine
import numpy as np
open_engine(sys.argv[1], tiny_source("slices")).predict(np.zeros((1, 4, 4, 4), np.float32))
"""


def test_finding_models_and_engines_imports_none():
    result = subprocess.run([sys.executable, "-c", IMPORTS_NOTHING_HEAVY], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_engines_leave_no_file_and_no_identifier_behind(name, tmp_path):
    # Both report their use, and keep an identifier in the home folder, unless they are kept from it.
    pytest.importorskip(name)
    environment = (
        os.environ
        | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
        | dict.fromkeys(("HOME", "TMPDIR"), str(tmp_path))
    )
    for variable in ("XDG_CACHE_HOME", "CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY"):
        environment.pop(variable, None)
    subprocess.run([sys.executable, "-c", USES_ENGINE, name], env=environment, check=True, cwd=tmp_path)
    assert list(tmp_path.rglob("*")) == []


# The fake.


def test_fake_is_a_softmax_of_mixed_channels():
    mixing = np.array([[1.0, 0, 0, 0], [0, 2.0, 0, 0]])
    batch = random_batch((1, 2, 2, 2))
    logits = np.stack([batch[..., 0], 2 * batch[..., 1], 0 * batch[..., 0], 0 * batch[..., 0] + 0.5], axis=-1)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(FakeEngine(mixing, bias=(0, 0, 0, 0.5)).predict(batch), expected, rtol=1e-5)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_fake_sees_its_radius_and_no_further(radius):
    engine = FakeEngine(np.eye(4), radius=radius)
    batch = np.zeros((1, 12, 14, 4), np.float32)
    changed = batch.copy()
    changed[0, 6, 7, 0] = 5
    rows, columns = np.nonzero((engine.predict(changed) != engine.predict(batch)).any(axis=-1)[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6 - radius, 6 + radius, 7 - radius, 7 + radius)


def test_fake_closes_and_refuses_like_the_others():
    engine = FakeEngine(np.eye(4))
    with pytest.raises(UsageError, match="multiples of 2"):
        engine.predict(random_batch((1, 3, 4, 4)))
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.predict(random_batch((1, 4, 4, 4)))
