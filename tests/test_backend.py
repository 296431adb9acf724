import os
import sys
from types import SimpleNamespace

import pytest

from gliomask.errors import EngineUnavailableError, UsageError
from gliomask.training.backend import use_backend, use_devices


@pytest.fixture
def environment(monkeypatch):
    """Puts back what a choice of backend leaves in the environment."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    return monkeypatch


def keras_on(name):
    return SimpleNamespace(backend=SimpleNamespace(backend=lambda: name))


def test_an_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="no training backend 'torch'. Known ones: tensorflow, jax"):
        use_backend("torch", None)


def test_keras_that_runs_on_another_is_refused(environment):
    environment.setitem(sys.modules, "keras", keras_on("jax"))
    with pytest.raises(UsageError, match="Keras already runs on jax in this process; tensorflow needs a fresh one"):
        use_backend("tensorflow", None)


@pytest.mark.parametrize(("name", "extra"), [("tensorflow", r"gliomask\[train\]"), ("jax", r"gliomask\[train,jax\]")])
def test_what_is_missing_is_named_with_its_extra(environment, name, extra):
    environment.delitem(sys.modules, "keras", raising=False)
    environment.setitem(sys.modules, name, None)
    with pytest.raises(EngineUnavailableError, match=f"Run: pip install '{extra}'"):
        use_backend(name, None)


def test_the_choice_goes_over_the_environment(environment):
    environment.setenv("KERAS_BACKEND", "jax")
    environment.setitem(sys.modules, "keras", keras_on("tensorflow"))
    environment.setitem(sys.modules, "tensorflow", SimpleNamespace(config=SimpleNamespace(list_logical_devices=list)))
    use_backend("tensorflow", None)
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_threads_that_cannot_be_set_any_more_are_refused(environment):
    def too_late(threads):
        raise RuntimeError("Intra op parallelism cannot be modified after initialization.")

    threading = SimpleNamespace(set_intra_op_parallelism_threads=too_late)
    environment.setitem(sys.modules, "keras", keras_on("tensorflow"))
    environment.setitem(sys.modules, "tensorflow", SimpleNamespace(config=SimpleNamespace(threading=threading)))
    with pytest.raises(UsageError, match="threads cannot be set to 3 any more"):
        use_backend("tensorflow", 3)


def test_threads_of_jax_are_the_processors_it_may_use(environment):
    chosen = []
    environment.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5, 7})
    environment.setattr(os, "sched_setaffinity", lambda process, processors: chosen.append(processors))
    environment.setitem(sys.modules, "keras", keras_on("jax"))
    environment.setitem(sys.modules, "jax", SimpleNamespace())
    use_backend("jax", 2)
    assert chosen == [[0, 3]]
    environment.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="cannot be set for JAX on darwin"):
        use_backend("jax", 2)


def test_several_devices_are_for_jax_alone(environment):
    environment.setitem(sys.modules, "keras", keras_on("tensorflow"))
    use_devices(1, 8)
    with pytest.raises(UsageError, match="on JAX alone"):
        use_devices(2, 8)
