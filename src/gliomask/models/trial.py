"""A trial of a foreign graph in a process of its own, with limits of memory and time, before it runs in this one.

A graph is a program. One that is made to, or is merely damaged, can end the process that runs it (an index far outside
an array), take all memory (a tensor of 160 GB) or never end. What `models.graph` can tell from the file alone it
refuses; the rest shows only in running it.

The child is started anew, not forked: engines' threads and locks would not survive a fork. It gets the graph on its
standard input, writes no file, and answers with one line of JSON.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import gliomask
from gliomask.engines.base import Batch, EngineSource
from gliomask.engines.choose import open_engine
from gliomask.engines.layout import TensorLayout
from gliomask.errors import GliomaskError, LimitError, ModelError
from gliomask.models.content import sha256

TRIAL_SECONDS = 300
"""Longest trial. A 3-D network of 31 million parameters takes seconds; a slow machine and a large window minutes."""

TRIAL_BYTES = 8 << 30
"""Most address space of a trial (Linux; macOS and Windows do not hold a process to it): above what nnU-Net's and Swin
UNETR's windows take. A machine with less memory sets the limit itself."""

SAID_LETTERS = 400
"""Most letters of the child's own words in a message."""

_tried: set[tuple[str, ...]] = set()
"""What has come through its trial in this process. Lookup and addition are each a single step to other threads."""


def try_out(source: EngineSource, engine: str, batch: Batch, threads: int | None = None) -> None:
    """Runs a graph on a batch in a child process, once for each graph, engine and size in this process.

    Args:
        source: the network; only its graph and layout are used.
        engine: one that runs graphs, `openvino` or `onnxruntime`.
        batch: what the network is given.
        threads: of the engine, as it will be used.

    Raises:
        ModelError: the engine refuses the graph or fails on it, or the child ends without an answer, by a signal for
            instance.
        LimitError: it needs more memory or time than a trial may take.
        EngineUnavailableError: the engine's software is not installed.
    """
    layout = json.dumps(asdict(source.layout))
    key = (sha256(source.graph), engine, layout, str(batch.shape), str(threads))
    if key in _tried:
        return
    order = {
        "engine": engine,
        "threads": threads,
        "bytes": _most_bytes(),
        "seconds": TRIAL_SECONDS,
        "source": {name: getattr(source, name) for name in ("network", "input_kind", "channels", "size_multiple")},
        "layout": asdict(source.layout),
    }
    stream = io.BytesIO()
    np.savez(stream, order=_as_bytes(json.dumps(order).encode()), graph=_as_bytes(source.graph), batch=batch)
    _judge(_run(stream.getvalue(), source.network), source.network)
    _tried.add(key)


def _run(order: bytes, network: str) -> subprocess.CompletedProcess[bytes]:
    # -P: the working folder, which may be the model's, lends no module.
    command = [sys.executable, "-P", "-m", "gliomask.models.trial"]
    root = str(Path(gliomask.__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        return subprocess.run(
            command,
            input=order,
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
            env=os.environ | {"PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired as error:
        raise LimitError(
            f"The network '{network}' did not come through its trial within {TRIAL_SECONDS:g} seconds. {_ADVICE}"
        ) from error
    except OSError as error:
        raise LimitError(
            f"The network '{network}' cannot be tried: no process can be started ({error}). {_ADVICE}"
        ) from error


_ADVICE = "A model that does not come with gliomask runs in a process of its own first; see docs/models.md."


def _judge(child: subprocess.CompletedProcess[bytes], network: str) -> None:
    """Raises what the child found, or what became of it."""
    if child.returncode < 0 and -child.returncode == getattr(signal, "SIGALRM", None):
        raise LimitError(
            f"The network '{network}' did not come through its trial within {TRIAL_SECONDS:g} seconds. {_ADVICE}"
        )
    try:
        answer = json.loads(child.stdout)
        code, said = int(answer["code"]), str(answer["said"])
    except (ValueError, KeyError, TypeError, RecursionError):
        last = child.stderr.decode(errors="replace").strip()[-SAID_LETTERS:]
        how = f"by signal {-child.returncode}" if child.returncode < 0 else f"with code {child.returncode}"
        raise ModelError(
            f"The network '{network}' ended the process in which it was tried, "
            f"{how}{': ' + last if last else ''}. {_ADVICE}"
        ) from None
    if code:
        raise (LimitError if code == LimitError.exit_code else ModelError)(said)


def _as_bytes(content: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(content, np.uint8)


def _most_bytes() -> int:
    try:
        return min(TRIAL_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not on Windows
        return TRIAL_BYTES


def _limit(most_bytes: int, seconds: float) -> None:
    """Holds this process to its limits: memory, time (also without its parent), no file, no dump of its memory."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit alone
        return
    limits = {resource.RLIMIT_AS: most_bytes, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def child() -> dict[str, Any]:
    """Runs what is ordered on the standard input and returns what came of it: an exit code, 0 where all is well, and a
    message.
    """
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as file:
        order, graph, batch = json.loads(file["order"].tobytes()), file["graph"].tobytes(), file["batch"]
    _limit(order["bytes"], order["seconds"])
    layout: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in order["layout"].items()
    }
    try:
        engine = open_engine(
            order["engine"], EngineSource(graph, layout=TensorLayout(**layout), **order["source"]), order["threads"]
        )
        engine.predict(batch)
    except GliomaskError as error:
        return {"code": error.exit_code, "said": str(error)}
    except MemoryError:
        return {
            "code": LimitError.exit_code,
            "said": f"The network '{order['source']['network']}' needs more memory than a trial may take. {_ADVICE}",
        }
    return {"code": 0, "said": ""}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(child()))
