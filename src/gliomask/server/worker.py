"""The process of one job, `python -P -m gliomask.server.worker FOLDER`, or of a correction of its result,
`... FOLDER CORRECTION`.

It limits itself, does the work in the job's folder, tells its progress as lines of JSON on stdout, and leaves
`outcome.json`, written whole or not at all.
It ends when the server ends: its stdin closes then, and Linux sends it a signal.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict

from gliomask.errors import GliomaskError, InputError, LimitError, ModelError, QualityError, UsageError
from gliomask.files.atomic import write_bytes
from gliomask.files.hashing import sha256_of
from gliomask.files.json import read_json_as
from gliomask.imports import import_without
from gliomask.server import correction_order
from gliomask.server.correction_order import CORRECTIONS, CorrectionOrder
from gliomask.server.jobs import CorrectionOutcome, Failure, JobOptions, JobOutcome, Kind, Progress, ResultFile

log = logging.getLogger("gliomask.server")

ORDER, OUTCOME = Path("job.json"), Path("outcome.json")
"""Files of a job's folder: what to do, and how it ended."""

BUNDLE = "results.zip"

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""

HINTS = {
    "usage": "Change the options and send the scans again.",
    "input": "Check the scans and send them again.",
    "model": "Tell whoever runs the server: a model or a program that it needs cannot be used.",
    "limit": "Send a smaller case, or ask whoever runs the server for higher limits.",
    "quality": "Look at the scans. If `strict` was asked for, they can be sent without it.",
    "unexpected": "Try once more; if it fails again, tell whoever runs the server the job's id.",
}
"""What to do, by code."""

_CODES: tuple[tuple[type[GliomaskError], str], ...] = (
    (UsageError, "usage"),
    (InputError, "input"),
    (ModelError, "model"),
    (LimitError, "limit"),
    (QualityError, "quality"),
)


class Order(BaseModel):
    """What a worker is to do.

    Args:
        kind: what the folder `input` holds.
        options: how to segment.
        threads: of the engine.
        memory_bytes: of address space, for each process.
        file_bytes: of any file that is written.
        notes: of what the upload held besides, for the outcome.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    options: JobOptions
    threads: int
    memory_bytes: int
    file_bytes: int
    notes: tuple[str, ...] = ()


def main(arguments: list[str]) -> int:
    """Runs the job in a folder; the outcome tells how it went, the exit code only that there is one."""
    server = os.getppid()
    os.chdir(arguments[0])
    _end_with(server)
    order = read_json_as(ORDER, Order, "an order for a worker")
    _limit(order)
    import_without("nibabel", "pydicom")
    _log_to_stderr()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1) as lines:
        # What libraries print goes to the log.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        if len(arguments) > 1:
            return correct(order, arguments[1])
        outcome = run(order, _teller(lines))
    write_bytes(OUTCOME, outcome.model_dump_json().encode())
    return 0


def correct(order: Order, name: str) -> int:
    """Keeps one correction of the job's result, and says how that ended."""
    from gliomask.server import correction_job

    place = CORRECTIONS / name
    temporary = (place / "temporary").absolute()
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        wanted = read_json_as(place / correction_order.ORDER, CorrectionOrder, "an order for a correction")
        kept = correction_job.keep_correction(order.kind, wanted, place)
        public = kept.model_copy(update={"notes": tuple(map(without_paths, kept.notes))})
        outcome = CorrectionOutcome(correction=public)
    except GliomaskError as error:
        outcome = CorrectionOutcome(failure=_failure(error))
    except MemoryError:
        failure = Failure(
            code="limit", message="The correction needs more memory than it may have.", hint=HINTS["limit"]
        )
        outcome = CorrectionOutcome(failure=failure)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_bytes(place / correction_order.OUTCOME, outcome.model_dump_json().encode())
    return 0


def run(order: Order, report: Callable[[str, int, int], None]) -> JobOutcome:
    """Does the work and says how it ended. Never raises over what a client sent."""
    from gliomask.server import case_job, view_files

    start = time.perf_counter()
    temporary = Path("temporary").absolute()
    for left in (case_job.RESULTS, case_job.SCANS, view_files.VIEW, temporary):
        # Of an attempt that was lost.
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        segmented = case_job.segment_job(order.kind, order.options, order.threads, report)
        report("packing", 0, 0)
        results = _pack(case_job.RESULTS)
    except GliomaskError as error:
        return JobOutcome(failure=_failure(error), seconds=round(time.perf_counter() - start, 2))
    except MemoryError:
        failure = Failure(code="limit", message="The job needs more memory than one job may have.", hint=HINTS["limit"])
        return JobOutcome(failure=failure, seconds=round(time.perf_counter() - start, 2))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    seconds = round(time.perf_counter() - start, 2)
    return JobOutcome(
        results=results,
        flags=segmented.flags,
        notes=(*order.notes, *map(without_paths, segmented.notes)),
        volumes_ml=segmented.volumes_ml,
        expected_dice=segmented.expected_dice,
        seconds=seconds,
    )


def _failure(error: GliomaskError) -> Failure:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "unexpected")
    return Failure(code=code, message=without_paths(str(error)), hint=HINTS[code])


def without_paths(message: str) -> str:
    """Returns a message without the folders of the job; one that tells another absolute path goes to the log alone."""
    here = str(Path.cwd())
    for folder in (f"{here}/temporary/", f"{here}/", "input/dicom/", "input/", "scans/", "results/", "corrections/"):
        message = message.replace(folder, "")
    words = message.replace("'", " ").replace('"', " ").replace("(", " ").split()
    if any(word.startswith("/") and len(word) > 1 for word in words):
        log.warning("kept back from the client: %s", message)
        return "What went wrong names a folder of the server, so it stands in the job's log alone."
    return message


def _pack(folder: Path) -> tuple[ResultFile, ...]:
    """Puts all results into one archive as well, and returns what there is."""
    import zipfile

    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    with zipfile.ZipFile(folder / BUNDLE, "w", zipfile.ZIP_STORED) as bundle:
        for name in names:
            bundle.write(folder / name, name)
    paths = [folder / name for name in (*names, BUNDLE)]
    return tuple(ResultFile(name=path.name, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in paths)


def _teller(lines: TextIO) -> Callable[[str, int, int], None]:
    def tell(stage: str, done: int, total: int) -> None:
        lines.write(Progress(stage=without_paths(stage)[:200], done=done, total=total).model_dump_json() + "\n")

    return tell


def _limit(order: Order) -> None:
    limits = {resource.RLIMIT_AS: order.memory_bytes, resource.RLIMIT_FSIZE: order.file_bytes, resource.RLIMIT_CORE: 0}
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (least, least))
    # A file that grows too large is then an error of writing, not the end of the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _log_to_stderr() -> None:
    """Sends warnings to stderr, which is the worker's log; gliomask as a library logs nowhere."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=[handler])


def _end_with(server: int) -> None:
    """Ends this process when the server does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
