"""Starting and ending the processes in which the server meets what strangers sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence as Ordered
from pathlib import Path

PATIENCE_SECONDS = 3.0
"""From asking a process to end until it is killed."""

MAX_LINE_BYTES = 64 << 10
"""Of a line of progress."""

WORKER_LOG = "worker.log"
"""What a worker and its libraries print; for whoever runs the server."""


async def started(command: Ordered[str], folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Starts a worker on the folder of a job, in a group of its own.

    Args:
        command: of the worker.
        folder: of the job; the worker's first argument.
        arguments: further ones.
    """
    # A worker has no business with the server's secrets.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GLIOMASK_")}
    with (folder / WORKER_LOG).open("ab") as worker_log:
        return await asyncio.create_subprocess_exec(
            *command,
            str(folder),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=worker_log,
            limit=MAX_LINE_BYTES,
            env=environment,
            start_new_session=True,
        )


async def end(process: asyncio.subprocess.Process) -> None:
    """Ends a process and those that it started."""
    for number, patience in ((signal.SIGTERM, PATIENCE_SECONDS), (signal.SIGKILL, PATIENCE_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # Its group, since pixels of DICOM files are decoded by a further process. The group may outlive its first
            # process.
            os.killpg(process.pid, number)
        if process.returncode is not None:
            continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
