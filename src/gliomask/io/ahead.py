"""Reading a case in the background, while models are opened: unpacking releases the GIL, and so does compiling a
network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Ahead(Generic[K, V]):
    """Work that was begun before its result is asked for; each result is handed out once.

    Args:
        work: makes the value of a key.
    """

    def __init__(self, work: Callable[[K], V]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._begun: dict[int, tuple[K, Future[V]]] = {}

    def begin(self, key: K) -> None:
        """Begins the work of a key, which is told from others by its identity.

        Where no thread can be started, nothing is begun.
        """
        future: Future[V] = Future()

        def run() -> None:
            try:
                future.set_result(self._work(key))
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            self._begun[id(key)] = (key, future)
        try:
            # A daemon: a process that ends for another reason does not wait for it.
            threading.Thread(target=run, name="gliomask-ahead", daemon=True).start()
        except (RuntimeError, MemoryError):
            self._take(key)

    def result(self, key: K) -> V:
        """Returns the value of a key: of the work that was begun, or of work that begins now.

        Raises what the work raises.
        """
        future = self._take(key)
        return self._work(key) if future is None else future.result()

    def _take(self, key: K) -> Future[V] | None:
        with self._lock:
            begun = self._begun.get(id(key))
            if begun is None or begun[0] is not key:
                return None
            return self._begun.pop(id(key))[1]
