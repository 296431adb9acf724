"""How a cohort scales: `python benchmarks/cohort_scaling.py run` with a stub engine, `... count` of what is done to the
file system, `... simulate`.

`run` does 10, 100 and 1,000 tiny cases with 1 and 2 workers, so that what is measured is everything but the network;
it counts processor seconds of all processes beside the clock's, which another load on the machine lengthens.
`count` says how many files, bytes and file operations a case costs. `simulate` makes cohorts of up to 100,000 cases
without segmenting them, and measures the processor seconds of what one process does for all cases: the index, merging
rows, the table.
`saturate` plays 100,000 cases on up to 1,000 workers against a file server that does so many operations a second, and
says how long workers wait for it. Prints tables in Markdown; repeats and spread as asked for by --repeats. Needs the
extra test, since it takes the network made by hand from tests/.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.listdir")
"""Python's audit events that are operations on the metadata of files; stat has none, and is cached by network file
systems.
"""

CASE_SECONDS = 6.0
"""Of a case on one processor, for the simulation; docs/tables/cohort-scaling.md says where it comes from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "count", "simulate", "saturate"])
    parser.add_argument("--cases", type=int, nargs="+")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cohort-scaling-") as folder:
        if arguments.what == "run":
            run(Path(folder), arguments.cases or [10, 100, 1000], arguments.workers, arguments.repeats)
        elif arguments.what == "count":
            count(Path(folder))
        elif arguments.what == "saturate":
            saturate((arguments.cases or [100_000])[0])
        else:
            simulate(Path(folder), arguments.cases or [1000, 10_000, 100_000])


def make_cases(folder: Path, number: int) -> None:
    """One tiny case, and folders of links to it: what is read is the same, names differ."""
    from conftest import make_tiny_case, tiny_labels, write_brats_case

    write_brats_case(folder.parent / "one", make_tiny_case("one"), tiny_labels())
    for index in range(number):
        target = folder / f"c{index:06}"
        target.mkdir(parents=True)
        for path in (folder.parent / "one" / "one").iterdir():
            (target / path.name.replace("one", target.name)).symlink_to(path)


PLAIN = ["--no-preview", "--raw", "never", "--precision", "fp32", "--progress", "json"]


def run(folder: Path, sizes: list[int], workers: list[int], repeats: int) -> None:
    print(
        "| cases | workers | processor seconds a case, median (least to most) | seconds, median (least to most) | "
        "cases an hour | memory of the command, MB |\n|---|---|---|---|---|---|"
    )
    for size in sizes:
        cases = folder / f"in{size}"
        make_cases(cases, size)
        for number in workers:
            laps = [lap(cases, folder / "out", number) for _ in range(repeats)]
            seconds, processor_seconds, peaks = zip(*laps, strict=True)
            each = [value / size for value in processor_seconds]
            middle = statistics.median(seconds)
            print(
                f"| {size:,} | {number} | {statistics.median(each):.3f} ({min(each):.3f} to {max(each):.3f}) | "
                f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f}) | {size / middle * 3600:,.0f} | "
                f"{max(peaks):.0f} |",
                flush=True,
            )


def lap(cases: Path, out: Path, workers: int) -> tuple[float, float, float]:
    """Does a cohort once; returns seconds, processor seconds of all its processes, and the command's peak, MB."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, TESTS / "stub_cohort.py", cases, "-o", out, "--workers", str(workers), *PLAIN]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command_process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(command_process.pid, 0)
    assert status == 0
    seconds = time.perf_counter() - start
    # Its workers, which it waited for, are counted among its children's children.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_seconds = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return seconds, processor_seconds, used.ru_maxrss * 1024 / 1e6


def count(folder: Path) -> None:
    from stub_cohort import install

    install()
    from gliomask.cohort.job import CohortJob
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.rows import CohortRow, RowStore
    from gliomask.cohort.runner import begin

    make_cases(folder / "in", 3)
    cohort = begin(folder / "in", CohortPlace(folder / "out"), {"raw": "never", "precision": "fp32"})
    seen: Counter[str] = Counter()
    counting = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event in EVENTS and str(folder) in str(arguments[0] if arguments else ""):
            seen[event] += 1

    sys.addaudithook(hook)
    store = RowStore(cohort.place.rows)
    with CohortJob(cohort.settings.asked, cohort.place.folder, 1) as job:
        for number, entry in enumerate(cohort.entries):
            counting = number == 2
            store.write(CohortRow(entry.case, "waiting"))
            store.write(job.do(entry).row)
            counting = False
    last = cohort.entries[-1].case
    files = [path for path in (folder / "out" / last).iterdir() if path.is_file()] + [store.path(last)]
    print(f"Files a case: {len(files)}, {sum(path.stat().st_size for path in files):,} bytes here (tiny case).")
    print("| file operation | a case |\n|---|---|")
    for event, times in seen.most_common():
        print(f"| {event} | {times} |")
    print(
        f"Together {sum(seen.values())} a case; with {CASE_SECONDS:.0f} s a case "
        f"{1000 / CASE_SECONDS * sum(seen.values()):,.0f} a second for 1,000 workers."
    )


def simulate(folder: Path, sizes: list[int]) -> None:
    from gliomask.cohort.index import Entry, read_index, write_index
    from gliomask.cohort.place import CohortPlace
    from gliomask.cohort.rows import CohortRow, RowStore, to_bytes
    from gliomask.cohort.runner import Cohort, left_to_do, open_table
    from gliomask.cohort.settings import CohortSettings
    from gliomask.cohort.slurm import SlurmOptions, make_plan
    from gliomask.sequences import PAPER_ORDER

    names = [
        "cases",
        "index write",
        "index read",
        "rows merge",
        "table write",
        "plan",
        "chunks",
        "row bytes",
        "index bytes a case",
        "memory, MB",
    ]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for size in sizes:
        place = CohortPlace(folder / f"out{size}")
        place.rows.mkdir(parents=True)
        entries = [
            Entry(f"sub-{n:06}", {s: Path(f"/data/cohort/sub-{n:06}/sub-{n:06}_{s.value}.nii.gz") for s in PAPER_ORDER})
            for n in range(size)
        ]
        laps = [time.process_time()]
        content = write_index(place.index, entries)
        laps.append(time.process_time())
        read_index(place.index)
        laps.append(time.process_time())
        store = RowStore(place.rows)
        row = CohortRow(
            "",
            "done",
            25.3,
            "",
            "",
            70.1,
            20.2,
            10.3,
            0.9,
            0.8,
            0.95,
            0.9,
            0.8,
            0.95,
            0.9,
            0.8,
            0.95,
            inputs_sha256="0" * 64,
            model_sha256="1" * 64,
        )
        row_bytes = 0
        for entry in entries:
            # Written plainly: the time of flushing is the disk's, and `run` has it.
            path = store.path(entry.case)
            path.parent.mkdir(exist_ok=True)
            value = to_bytes(CohortRow(**{**row.__dict__, "case": entry.case}))
            row_bytes = len(value)
            path.write_bytes(value)
        cohort = Cohort(place, CohortSettings("/data", size, "", {}), tuple(entries))
        laps.append(time.process_time())
        table = open_table(cohort)
        laps.append(time.process_time())
        table.put(next(iter(table.rows.values())))
        table.write()
        laps.append(time.process_time())
        plan = make_plan(left_to_do(cohort, {}, retry_failed=False), [row], SlurmOptions())
        laps.append(time.process_time())
        write, read, _, merge, again, planning = (after - before for before, after in pairwise(laps))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        times = [f"{value:.2f}" for value in (write, read, merge, again, planning)]
        cells = [f"{size:,}", *times, len(plan.chunks), row_bytes, len(content) // size, f"{peak:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        shutil.rmtree(place.folder)


OPERATIONS = (14, 44)
"""On the metadata of files, as a case begins and as it ends: `count` gives their sum."""

SERVER_RATES = (1_000, 3_000, 10_000)
"""Operations on metadata a second: an old NFS server, a good one, a parallel file system."""


def saturate(cases: int) -> None:
    print(
        "| workers | operations a second | hours | hours without the server | server busy | a case waits for it, s "
        "|\n|---|---|---|---|---|---|"
    )
    for rate in SERVER_RATES:
        for workers in (10, 100, 300, 1000):
            seconds, busy, waited = play(cases, workers, rate, random.Random(7))
            alone = cases * CASE_SECONDS / workers / 3600
            print(
                f"| {workers:,} | {rate:,} | {seconds / 3600:.2f} | {alone:.2f} | {100 * busy / seconds:.0f} % | "
                f"{waited / cases:.2f} |",
                flush=True,
            )


def play(cases: int, workers: int, rate: float, generator: random.Random) -> tuple[float, float, float]:
    """Plays a cohort against one file server that serves bursts of operations in the order in which they come.

    Returns:
        Seconds until the last case has ended, seconds in which the server was busy, and seconds that all cases together
            waited for it.
    """
    free_at = busy = waited = now = 0.0
    begun = 0
    # Time at which a worker asks the server next, and what it asks for: 0 to begin a case, 1 to end one. Workers start
    # within a minute.
    asking = [(generator.uniform(0, 60), number, 0) for number in range(workers)]
    heapq.heapify(asking)
    while asking:
        now, number, phase = heapq.heappop(asking)
        if phase == 0 and begun == cases:
            continue
        begun += phase == 0
        taken = OPERATIONS[phase] / rate
        waited += max(free_at - now, 0) + taken
        busy += taken
        free_at = max(free_at, now) + taken
        after = free_at + (generator.gauss(CASE_SECONDS, CASE_SECONDS / 5) if phase == 0 else 0)
        heapq.heappush(asking, (max(after, free_at), number, 1 - phase))
    return max(now, free_at), busy, waited


if __name__ == "__main__":
    main()
