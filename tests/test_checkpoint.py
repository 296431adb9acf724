import errno
import os
import pickle

import numpy as np
import pytest

from gliomask.errors import FileFormatError, LimitError, UsageError
from gliomask.training.checkpoint import Checkpoint
from gliomask.training.config import make_config


@pytest.fixture
def checkpoint(rng):
    weights = [rng.standard_normal((3, 3, 4, n)).astype(np.float32) for n in range(1, 13)]
    optimiser = [np.int64(7), *[w * 2 for w in weights]]
    history = [{"epoch": 1, "loss": 0.123456789012345, "seconds": 1.5, "waiting_share": 0.0}]
    return Checkpoint(
        weights,
        [np.asarray(o) for o in optimiser],
        [w + 1 for w in weights],
        history,
        {"seed": 0, "threads": 1},
        ["a", "b"],
        "tensorflow",
    )


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path, checkpoint):
    checkpoint.save(tmp_path / "checkpoint.npz")
    read = Checkpoint.load(tmp_path / "checkpoint.npz")
    for kind in ("weights", "optimiser", "best"):
        before, after = getattr(checkpoint, kind), getattr(read, kind)
        assert [a.dtype for a in after] == [b.dtype for b in before]
        assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert (read.history, read.config, read.cases, read.backend) == (
        checkpoint.history,
        checkpoint.config,
        checkpoint.cases,
        "tensorflow",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, checkpoint, share):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FileFormatError, match="checkpoint.npz: not a checkpoint that can be read"):
        Checkpoint.load(path)


def test_a_changed_byte_is_refused(tmp_path, checkpoint):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        Checkpoint.load(path)


class Trap:
    """Unpickling this would create a file."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "object.npz", notes=np.array([Trap()], object))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("object.npz", "plain.npz"):
        with pytest.raises(FileFormatError):
            Checkpoint.load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", kernel=np.zeros(3))
    with pytest.raises(FileFormatError, match="notes"):
        Checkpoint.load(tmp_path / "weights.npz")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, checkpoint, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(os, "fsync", full)
    checkpoint.history.append({"epoch": 2})
    with pytest.raises(LimitError, match="No space left"):
        checkpoint.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_only_the_same_training_goes_on(tmp_path, checkpoint):
    path = tmp_path / "checkpoint.npz"
    checkpoint.refuse_other(path, {"seed": 0, "threads": 8}, ["a", "b"], "tensorflow")
    for config, cases, backend, message in [
        ({"seed": 1, "threads": 1}, ["a", "b"], "tensorflow", "other values of seed"),
        ({"seed": 0, "newer": 1}, ["a", "b"], "tensorflow", "other values of newer"),
        ({"seed": 0}, ["a"], "tensorflow", r"other training cases \(2, now 1\)"),
        ({"seed": 0}, ["b", "a"], "tensorflow", "other training cases"),
        ({"seed": 0}, ["a", "b"], "jax", "made on tensorflow, not jax"),
    ]:
        with pytest.raises(UsageError, match=message):
            checkpoint.refuse_other(path, config, cases, backend)
    checkpoint.backend = None
    checkpoint.refuse_other(path, {"seed": 0}, ["a", "b"], "jax")


def test_a_training_from_before_a_field_was_added_goes_on_with_its_default(tmp_path, checkpoint):
    config = make_config().model_dump(mode="json")
    checkpoint.config = {name: value for name, value in config.items() if name != "placement"}
    checkpoint.refuse_other(tmp_path, config, ["a", "b"], "tensorflow")
    with pytest.raises(UsageError, match="other values of placement"):
        checkpoint.refuse_other(tmp_path, config | {"placement": "adjacent"}, ["a", "b"], "tensorflow")


def with_notes(checkpoint: Checkpoint, path, notes: bytes) -> None:
    arrays = {
        f"{kind}_{n:04d}": array
        for kind in ("weights", "optimiser", "best")
        for n, array in enumerate(getattr(checkpoint, kind))
    }
    np.savez(path, notes=np.frombuffer(notes, np.uint8), **arrays)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (b"[]", "valid dictionary"),
        (b"{}", "Field required"),
        (b'{"history": 5, "config": {}, "cases": []}', "history: Input should be a valid list"),
        (b'{"history": [], "config": {}, "cases": []}', "history: List should have at least 1 item"),
        (b'{"history": [{}], "config": {}, "cases": []}', "a row of its history lacks one of epoch, loss"),
        (b'{"history": [{"epoch": 1, "loss": "x"}], "config": {}, "cases": []}', "loss"),
        (
            b'{"history": [{"epoch": 1, "loss": 1, "seconds": 1, "waiting_share": 0}], "config": '
            b'{"validation_share": 0.1}, "cases": []}',
            "validation_loss",
        ),
        (b'{"history": [{"epoch": 1' + b"0" * 400 + b"}]}", "beyond any that is counted with"),
        (b'{"history": [{"loss": 1e400}]}', "beyond any that is calculated with"),
        (b'{"history": NaN}', "NaN, which is no JSON"),
        (b'{"cases": ["\\ud800"]}', "half of a character"),
        (b"[" * 100_000, "nested"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_notes_that_make_no_sense_are_refused(tmp_path, checkpoint, notes, message):
    with_notes(checkpoint, tmp_path / "checkpoint.npz", notes)
    with pytest.raises(
        FileFormatError, match=r"checkpoint\.npz: not a checkpoint .*Start the training anew in another folder"
    ) as caught:
        Checkpoint.load(tmp_path / "checkpoint.npz")
    assert message in str(caught.value)


def test_arrays_of_other_shapes_are_refused(tmp_path, checkpoint):
    shapes = {kind: [array.shape for array in getattr(checkpoint, kind)] for kind in ("weights", "optimiser", "best")}
    checkpoint.refuse_misfits(tmp_path, shapes | {"statistics": [(8,)]})
    for kind in shapes:
        with pytest.raises(UsageError, match=kind):
            checkpoint.refuse_misfits(tmp_path, shapes | {kind: [*shapes[kind], (1,)]})
    checkpoint.statistics = [np.zeros(7)]
    with pytest.raises(UsageError, match="statistics"):
        checkpoint.refuse_misfits(tmp_path, {"statistics": [(8,)]})
