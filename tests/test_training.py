import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stacks import NORMED_NETWORK, TINY_NETWORK, make_stacks, small_config

from gliomask.colours import PALETTE
from gliomask.errors import UsageError
from gliomask.labels import Region
from gliomask.networks.catalogue import NETWORKS
from gliomask.training.checkpoint import Checkpoint

pytest.importorskip("keras", reason="training needs the extra 'train'")
from gliomask.training import loop
from gliomask.training import run as training_run
from gliomask.training.curve import dice_column, draw_learning_curve
from gliomask.training.loop import CHECKPOINT_NAME, finished, train

pytestmark = pytest.mark.train

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    monkeypatch.setitem(NETWORKS, "tiny", TINY_NETWORK)
    monkeypatch.setitem(NETWORKS, "normed", NORMED_NETWORK)


def tiny_config(**choices):
    return small_config(network="tiny", **choices)


def weights(model) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in model.variables]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def in_its_own_process(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code that may import the tests' helpers; for the choice of a backend, and for deaths."""
    environment = os.environ | {"PYTHONPATH": str(TESTS), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_steps_lower_the_loss_and_a_few_epochs_lower_it_much(tmp_path):
    losses = []
    # One step an epoch, at a constant rate.
    config = tiny_config(epochs=12, patches_per_class=8, batch_size=32, learning_rate=0.02, decay_per_epoch=1.0)
    trained = train(make_stacks(1), [], config, tmp_path, on_step=lambda step: losses.append(step.loss))
    assert len(losses) == 12
    assert losses[2] < losses[0]
    assert losses[-1] < 0.7 * losses[0]
    assert [row["loss"] for row in trained.history] == losses
    assert [row["epoch"] for row in trained.history] == list(range(1, 13))
    assert all(0 <= row["waiting_share"] <= 1 and row["seconds"] > 0 for row in trained.history)
    assert trained.patches == 12 * 32


def test_the_seed_decides_everything(tmp_path):
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        results.append(weights(train(make_stacks(1), [], tiny_config(epochs=1, seed=seed), tmp_path / name).model))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])


def test_the_averaged_weights_are_kept_and_the_raw_ones_go_on(tmp_path):
    trained = train(make_stacks(1), [], tiny_config(epochs=2, average=0.5), tmp_path)
    saved = Checkpoint.load(tmp_path / CHECKPOINT_NAME)
    assert equal(weights(trained.model), saved.best)
    assert not equal(saved.weights, saved.best)
    np.testing.assert_allclose(saved.best[0], saved.weights[0], atol=0.01)


def test_without_averaging_the_last_weights_are_kept(tmp_path):
    train(make_stacks(1), [], tiny_config(epochs=1, average=0.0), tmp_path)
    saved = Checkpoint.load(tmp_path / CHECKPOINT_NAME)
    assert equal(saved.weights, saved.best)


@pytest.fixture
def scripted_validation(monkeypatch):
    """Validation losses that are given, not computed."""

    def script(losses):
        monkeypatch.setattr(loop._Run, "_validate", lambda run: {"validation_loss": losses[len(run.history)]})

    return script


def test_training_stops_early_and_returns_the_best_epoch(tmp_path, scripted_validation):
    scripted_validation([3.0, 1.0, 2.0, 1.5, 0.1])
    stacks = make_stacks(2)
    results = {}
    for epochs in (10, 2):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        # A constant rate: otherwise the number of epochs would change it.
        config = tiny_config(epochs=epochs, validation_share=0.5, patience=2, decay_per_epoch=1.0)
        results[epochs] = train(stacks[:1], stacks[1:], config, folder)
    assert [row["validation_loss"] for row in results[10].history] == [3.0, 1.0, 2.0, 1.5]
    assert equal(weights(results[10].model), weights(results[2].model))
    again = train(
        stacks[:1],
        stacks[1:],
        tiny_config(epochs=10, validation_share=0.5, patience=2, decay_per_epoch=1.0),
        tmp_path / "10",
    )
    assert len(again.history) == 4


def test_finished():
    row = {"loss": 1.0}
    assert not finished([], tiny_config(epochs=2))
    assert not finished([row], tiny_config(epochs=2))
    assert finished([row, row], tiny_config(epochs=2))
    patient = tiny_config(epochs=9, validation_share=0.1, patience=2)
    assert not finished([{"validation_loss": loss} for loss in (3, 2, 4)], patient)
    assert finished([{"validation_loss": loss} for loss in (3, 2, 4, 3)], patient)


def test_a_real_validation_loss_repeats_for_the_same_weights(tmp_path):
    stacks = make_stacks(2)
    config = tiny_config(epochs=3, validation_share=0.5, optimiser="sgd", learning_rate=1e-30, decay_per_epoch=1.0)
    history = train(stacks[:1], stacks[1:], config, tmp_path).history
    for column in ("validation_loss", *map(dice_column, Region)):
        values = [row[column] for row in history]
        assert values[0] == values[1] == values[2] > 0, column
    assert all(0 < row[dice_column(region)] < 1 for row in history for region in Region)
    assert [row["learning_rate"] for row in history] == pytest.approx([1e-30] * 3)


def test_the_learning_rate_of_the_log_is_the_schedules(tmp_path):
    config = tiny_config(epochs=3, learning_rate=1e-2, decay_per_epoch=0.5)
    rates = [row["learning_rate"] for row in train(make_stacks(1), [], config, tmp_path).history]
    assert rates == pytest.approx([1e-2, 5e-3, 2.5e-3]), "that of each epoch's last step"


def test_the_course_is_drawn_whatever_its_rows_hold(tmp_path):
    """Checkpoints of earlier versions know neither learning rates nor Dice, and not every training has validation
    cases.
    """
    old = {"epoch": 1, "loss": 0.9, "seconds": 3.0, "waiting_share": 0.0}
    new = (
        old
        | {"epoch": 2, "learning_rate": 1e-3, "validation_loss": 0.8}
        | {dice_column(region): 0.5 for region in Region}
    )
    pictures = {}
    for name, history in {"none": [], "old": [old], "new": [new], "both": [old, new]}.items():
        draw_learning_curve(history, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            pictures[name] = np.asarray(picture.convert("RGB"))
    assert len({picture.tobytes() for picture in pictures.values()}) == 4
    for region in Region:
        colour = PALETTE.regions[region]
        assert (np.abs(pictures["new"].astype(int) - colour).max(axis=2) < 10).any(), region
        assert not (np.abs(pictures["old"].astype(int) - colour).max(axis=2) < 10).any(), region


def test_a_log_that_an_earlier_version_began_has_blank_cells():
    old, new = {"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.8, "learning_rate": 0.1}
    assert training_run._table([old, new]).decode().split() == ["epoch,loss,learning_rate", "1,0.9,", "2,0.8,0.1"]


def test_a_diverging_training_stops_and_says_so(tmp_path):
    config = tiny_config(epochs=2, optimiser="sgd", learning_rate=1e30, decay_per_epoch=1.0, clip_norm=0)
    with pytest.raises(UsageError, match=r"diverged: its loss is nan in epoch 1, step \d.*lower learning_rate"):
        train(make_stacks(1), [], config, tmp_path)
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def test_too_few_patches_for_a_batch_are_refused(tmp_path):
    stacks = make_stacks(2)
    with pytest.raises(UsageError, match="patches of 2 training cases do not fill one batch of 64"):
        train(stacks, [], tiny_config(batch_size=64), tmp_path)
    with pytest.raises(UsageError, match="patches of 1 validation cases do not fill one batch of 10"):
        train(stacks, stacks[:1], tiny_config(batch_size=10, validation_share=0.5), tmp_path)
    with pytest.raises(UsageError, match="patches of 0 training cases"):
        train([], [], tiny_config(), tmp_path)


def test_a_finished_training_goes_on_with_more_epochs(tmp_path):
    # A constant rate, so that the number of epochs changes nothing else.
    short, long = (tiny_config(epochs=epochs, decay_per_epoch=1.0, average=0.9) for epochs in (1, 3))
    (tmp_path / "whole").mkdir()
    train(make_stacks(1), [], short, tmp_path)
    extended = train(make_stacks(1), [], long, tmp_path)
    whole = train(make_stacks(1), [], long, tmp_path / "whole")
    assert [row["epoch"] for row in extended.history] == [1, 2, 3]
    assert [row["loss"] for row in extended.history] == [row["loss"] for row in whole.history]
    assert equal(weights(extended.model), weights(whole.model))
    # With fewer than there are, it has ended: nothing is trained, nothing is taken back.
    again = train(make_stacks(1), [], tiny_config(epochs=2, decay_per_epoch=1.0, average=0.9), tmp_path)
    assert again.history == extended.history
    assert equal(weights(again.model), weights(extended.model))


def test_averaged_statistics_go_on_where_they_stopped(tmp_path):
    def config(epochs):
        return small_config(network="normed", epochs=epochs, decay_per_epoch=1.0, average=0.9)

    (tmp_path / "whole").mkdir()
    train(make_stacks(1), [], config(1), tmp_path)
    halfway = Checkpoint.load(tmp_path / CHECKPOINT_NAME)
    assert [mean.shape for mean in halfway.statistics] == [(8,), (8,)]
    resumed = train(make_stacks(1), [], config(3), tmp_path)
    whole = train(make_stacks(1), [], config(3), tmp_path / "whole")
    ours, theirs = (Checkpoint.load(folder / CHECKPOINT_NAME).statistics for folder in (tmp_path, tmp_path / "whole"))
    assert equal(ours, theirs)
    assert not equal(ours, halfway.statistics)
    assert equal(weights(resumed.model), weights(whole.model))
    # What is kept has the averaged ones, and they are not those of the last step.
    kept, last = (
        dict(zip(names(resumed.model), values, strict=True))
        for values in (weights(resumed.model), Checkpoint.load(tmp_path / CHECKPOINT_NAME).weights)
    )
    assert np.array_equal(kept["norm/moving_mean"], ours[0])
    assert not np.array_equal(kept["norm/moving_mean"], last["norm/moving_mean"])


def names(model) -> list[str]:
    return [variable.path for variable in model.variables]


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    stacks = make_stacks(2)
    train(stacks[:1], [], tiny_config(epochs=1), tmp_path)
    with pytest.raises(UsageError, match="other values of seed"):
        train(stacks[:1], [], tiny_config(epochs=2, seed=5), tmp_path)
    with pytest.raises(UsageError, match=r"other training cases \(1, now 2\)"):
        train(stacks, [], tiny_config(epochs=1), tmp_path)
    saved = Checkpoint.load(tmp_path / CHECKPOINT_NAME)
    saved.optimiser.pop()
    saved.save(tmp_path / CHECKPOINT_NAME)
    with pytest.raises(UsageError, match="does not fit this version of Keras"):
        train(stacks[:1], [], tiny_config(epochs=1), tmp_path)


def test_mixed_precision_trains_and_leaves_nothing_behind(tmp_path):
    trained = train(make_stacks(1), [], tiny_config(epochs=1, mixed_precision=True), tmp_path)
    assert np.isfinite(trained.history[0]["loss"])
    assert trained.model.get_layer("features").compute_dtype == "float16"
    assert {variable.dtype for variable in trained.model.variables} == {"float32"}
    (tmp_path / "plain").mkdir()
    plain = train(make_stacks(1), [], tiny_config(epochs=1), tmp_path / "plain")
    assert plain.model.get_layer("features").compute_dtype == "float32"


INTERRUPTED = """
    import json, os, signal, sys
    from pathlib import Path
    from gliomask.training.backend import use_backend
    use_backend("tensorflow", 1)
    from stacks import NORMED_NETWORK, make_stacks, small_config
    from gliomask.networks.catalogue import NETWORKS
    from gliomask.training.checkpoint import Checkpoint
    from gliomask.training.loop import train
    NETWORKS["normed"] = NORMED_NETWORK
    config = small_config(network="normed", epochs=3, validation_share=0.3, average=0.9)
    stacks = make_stacks(3)

    def run(folder, on_step=None):
        train(stacks[:2], stacks[2:], config, Path(folder), on_step)
        saved = Checkpoint.load(Path(folder) / "checkpoint.npz")
        return saved, [{k: v for k, v in row.items() if "loss" in k} for row in saved.history]

    def die(step):
        if (step.epoch, step.step) == (2, 2):
            os.kill(os.getpid(), signal.SIGKILL)

    if sys.argv[1] == "die":
        run(sys.argv[2], die)
    resumed, resumed_losses = run(sys.argv[2])
    whole, whole_losses = run(sys.argv[3])
    kinds = ("weights", "optimiser", "best")
    pairs = [zip(getattr(resumed, kind), getattr(whole, kind), strict=True) for kind in kinds]
    same = all((a == b).all() for arrays in pairs for a, b in arrays)
    print(json.dumps({"same": same, "losses": [resumed_losses, whole_losses]}))
"""


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    died = in_its_own_process(INTERRUPTED, "die", tmp_path / "killed", tmp_path / "whole")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(Checkpoint.load(tmp_path / "killed" / CHECKPOINT_NAME).history) == 1
    finished_run = in_its_own_process(INTERRUPTED, "go on", tmp_path / "killed", tmp_path / "whole")
    assert finished_run.returncode == 0, finished_run.stderr
    result = json.loads(finished_run.stdout)
    assert result["same"]
    assert result["losses"][0] == result["losses"][1]
    assert len(result["losses"][0]) == 3


ON_JAX = """
    import json, os, sys
    from pathlib import Path
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    from gliomask.errors import UsageError
    from gliomask.training.backend import devices_in_use, use_backend, use_devices
    use_backend("jax", 2)
    import numpy as np
    from stacks import NORMED_NETWORK, TINY_NETWORK, make_stacks, small_config
    from gliomask.networks.catalogue import NETWORKS
    from gliomask.training.loop import train
    NETWORKS["tiny"] = TINY_NETWORK

    def run(name, on_epoch=None, **choices):
        folder = Path(sys.argv[1]) / name
        folder.mkdir(exist_ok=True)
        return train(make_stacks(1), [], small_config(**choices), folder, on_epoch=on_epoch)

    def stop(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    tiny = {"network": "tiny", "epochs": 4, "average": 0.9}
    try:
        run("stopped", stop, **tiny)
    except KeyboardInterrupt:
        pass
    resumed, whole = run("stopped", **tiny), run("whole", **tiny)
    pairs = zip(resumed.model.variables, whole.model.variables, strict=True)
    same = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
    half = run("half", network="tiny", epochs=1, mixed_precision=True)
    dtype = half.model.get_layer("features").compute_dtype
    losses = [row["loss"] for row in whole.history]
    refused = []
    for devices, batch in ((3, 6), (2, 5)):
        try:
            use_devices(devices, batch)
        except UsageError as error:
            refused.append(str(error))
    use_devices(2, small_config().batch_size)
    shared = run("shared", **tiny)
    by_history = [[row["loss"] for row in trained.history] for trained in (whole, shared)]
    print(json.dumps({
        "same": same, "losses": losses, "dtype": dtype, "half": half.history[0]["loss"], "refused": refused,
        "devices": devices_in_use(), "one_and_two": by_history,
    }))
"""


def test_jax_trains_resumes_takes_half_precision_and_shares_batches(tmp_path):
    pytest.importorskip("jax", reason="needs the extra 'jax'")
    done = in_its_own_process(ON_JAX, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["same"]
    assert result["losses"][-1] < result["losses"][0]
    assert (result["dtype"], np.isfinite(result["half"])) == ("bfloat16", True)
    assert Checkpoint.load(tmp_path / "whole" / CHECKPOINT_NAME).backend == "jax"
    assert result["devices"] == 2
    one, two = result["one_and_two"]
    np.testing.assert_allclose(one, two, rtol=1e-4)
    assert "JAX finds 2: cpu:0, cpu:1" in result["refused"][0]
    assert "cannot be shared by 2 devices" in result["refused"][1]


@pytest.mark.gpu
def test_mixed_precision_on_a_gpu(tmp_path):
    from gliomask.training.backend import accelerator

    assert accelerator() != "cpu"
    trained = train(make_stacks(2), [], small_config(epochs=4, mixed_precision=True, learning_rate=3e-3), tmp_path)
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
