"""Cases of a training on disk: the same arrays, read-only, in no more memory for many cases than for few."""

import errno
import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from stacks import make_stack

from gliomask.errors import LimitError, UsageError
from gliomask.training.on_disk import StacksOnDisk


def kept(folder, stacks):
    with StacksOnDisk(folder) as store:
        for stack in stacks:
            store.add(stack)
        return store.stacks()


def test_cases_come_back_as_they_were_and_cannot_be_changed(tmp_path):
    given = [make_stack("one"), make_stack("two", seed=1)]
    # A tumour that does not enhance: nothing to centre a patch on.
    given.insert(1, replace(given[0], centres=(*given[0].centres[:-1], np.empty(0, np.int32))))
    for before, after in zip(given, kept(tmp_path, given), strict=True):
        assert (after.case_id, after.background, after.origin) == (before.case_id, before.background, before.origin)
        for old, new in zip(
            (before.slices, before.labels, *before.centres), (after.slices, after.labels, *after.centres), strict=True
        ):
            assert old.dtype == new.dtype
            np.testing.assert_array_equal(old, new)
            assert not new.flags.writeable
    assert kept(tmp_path, []) == []


def test_nothing_of_it_is_seen_in_the_folder(tmp_path):
    stacks = kept(tmp_path, [make_stack()])
    assert list(tmp_path.iterdir()) == []
    assert stacks[0].labels.any()


def test_many_cases_take_no_more_memory_than_few(tmp_path):
    def peak(count):
        tracemalloc.start()
        stacks = kept(tmp_path, (make_stack(f"case {n}", seed=n) for n in range(count)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(stacks) == count
        return found

    few, many, arrays = peak(3), peak(40), make_stack().slices.nbytes
    assert many - few < 5 * arrays


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, LimitError), (errno.EIO, UsageError)])
def test_a_disk_that_takes_nothing_is_an_error_with_a_reason(tmp_path, monkeypatch, number, kind):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(number, "no")

    monkeypatch.setattr("gliomask.training.on_disk.tempfile.TemporaryFile", lambda **_: Full())
    with StacksOnDisk(tmp_path) as store, pytest.raises(kind, match="cannot be written"):
        store.add(make_stack())
    monkeypatch.undo()
    with pytest.raises(UsageError, match="cannot be written"):
        StacksOnDisk(tmp_path / "missing")
