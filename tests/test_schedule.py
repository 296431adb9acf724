"""The stream of tiles: results come in order, few items are held, and the first failure ends it."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from gliomask.errors import LimitError
from gliomask.predict import schedule
from gliomask.predict.schedule import in_order

MANY = [1, 2, 3, 8]


@pytest.mark.parametrize("in_flight", MANY)
def test_results_come_in_the_order_of_the_items(in_flight):
    later = threading.Event()

    def work(item):
        # The first item ends last, where anything runs beside it.
        if item == 0 and in_flight > 1:
            assert later.wait(30)
        later.set()
        return item * item

    assert list(in_order(range(20), work, in_flight)) == [(n, n * n) for n in range(20)]
    assert list(in_order([], work, in_flight)) == []


@pytest.mark.parametrize("in_flight", MANY)
def test_no_more_items_are_held_than_may_be_in_flight(in_flight):
    drawn, yielded, most = 0, 0, 0

    def items():
        nonlocal drawn, most
        for n in range(30):
            drawn += 1
            most = max(most, drawn - yielded)
            yield n

    for _ in in_order(items(), lambda item: item, in_flight):
        yielded += 1
    assert most == in_flight


@pytest.mark.parametrize("in_flight", MANY)
def test_a_failure_comes_in_its_items_place_and_nothing_further_is_begun(in_flight):
    begun = []

    def work(item):
        begun.append(item)
        if item == 5:
            raise ValueError("five")
        return item

    seen = []
    with pytest.raises(ValueError, match="five"):
        for item, _ in in_order(range(100), work, in_flight):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]
    assert max(begun) < 5 + in_flight


@pytest.mark.parametrize("in_flight", [2, 3])
def test_a_stream_that_is_closed_early_leaves_no_thread_behind(in_flight):
    with closing(in_order(range(100), lambda item: item, in_flight)) as stream:
        next(stream)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("gliomask-tile")] == []


def test_one_item_at_a_time_needs_no_thread():
    caller = threading.current_thread()
    assert all(thread is caller for _, thread in in_order(range(3), lambda item: threading.current_thread(), 1))


def test_no_thread_to_be_had_is_a_limit_error(monkeypatch):
    class Refusing(schedule.ThreadPoolExecutor):
        def submit(self, *arguments):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(schedule, "ThreadPoolExecutor", Refusing)
    with pytest.raises(LimitError, match="can't start new thread"):
        list(in_order(range(3), lambda item: item, 2))
