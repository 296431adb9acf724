"""The order of the work over a brain: a stream of tiles, a few of which are in flight at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gliomask.errors import LimitError

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Iterable[T], work: Callable[[T], R], in_flight: int = 1, abandon: Callable[[], object] = lambda: None
) -> Generator[tuple[T, R], None, None]:
    """Yields each item with the result of its work, in the order of the items.

    While the caller uses one result, the next items are made and worked on. The order of results, and so every sum that
    the caller makes of them, does not depend on how many are in flight. Items are drawn from `items` in the caller's
    thread, and no more than `in_flight` of them are held.

    Args:
        items: made one by one as they are needed.
        work: called in other threads where `in_flight` is more than 1; else in the caller's.
        in_flight: most items that have been drawn and whose results have not been yielded.
        abandon: called before what is being worked on is waited for, where an error or an interruption ends the stream
            early.

    Raises:
        LimitError: no thread can be started.
        Exception: whatever `work` raises for an item, in that item's place. Nothing further is begun.
    """
    if in_flight < 2:
        for item in items:
            yield item, work(item)
        return
    with ThreadPoolExecutor(in_flight, thread_name_prefix="gliomask-tile") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, _submitted(pool, work, item)))
                if len(waiting) == in_flight:
                    oldest, future = waiting.popleft()
                    yield oldest, future.result()
            while waiting:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        except BaseException:
            abandon()
            raise
        finally:
            for _, future in waiting:
                future.cancel()


def _submitted(pool: ThreadPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
    try:
        return pool.submit(work, item)
    except RuntimeError as error:
        raise LimitError(
            f"A thread cannot be started ({error}). Give --threads 1, or run with a higher limit of memory "
            "and processes."
        ) from error
