r"""Times `gliomask segment` as a person meets it, from process start to file written:

    python benchmarks/whole_command.py CASE [--repeats 5] [--option=--engine=onnxruntime]... \
        -o docs/tables/whole_command.tsv

Each repeat is a fresh process that segments CASE into a new folder. The table gets a row a repeat: wall seconds, CPU
seconds, peak resident memory, and the seconds of each stage from the run record. Run it on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from gliomask.profiling import NETWORK_STAGES

STAGES = ("read", "check", "normalise", *NETWORK_STAGES, "postprocess", "to input grid")


def run_once(case: Path, options: list[str], folder: Path) -> dict[str, float | str]:
    """Segments once in a process of its own; returns what it took."""
    program = str(Path(sys.executable).with_name("gliomask"))
    arguments = [program, "segment", str(case), "-o", str(folder), *options]
    start = time.perf_counter()
    pid = os.posix_spawn(
        program, arguments, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"gliomask segment failed with status {status}")
    record = json.loads(next(folder.glob("*_run.json")).read_text())
    took: dict[str, float | str] = {"wall_s": round(wall, 2), "cpu_s": round(usage.ru_utime + usage.ru_stime, 2)}
    took["peak_mb"] = round(usage.ru_maxrss * 1024 / 1e6)
    took |= {stage.replace(" ", "_") + "_s": record["seconds"].get(stage, 0.0) for stage in STAGES}
    took["processors"] = record["environment"]["processors"]
    return took


def main() -> None:
    """Repeats, writes the table, prints medians with their spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--option", action="append", default=[], help="passed on to gliomask segment, as --option=--engine=onnxruntime"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [run_once(options.case, options.option, Path(folder) / str(n)) for n in range(options.repeats)]
    for name in ("wall_s", "cpu_s", "peak_mb", "network_s", "ensemble_member_s"):
        values = [float(row[name]) for row in rows]
        print(
            f"{name}: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}, "
            f"{len(values)} repeats"
        )
    if options.output:
        with options.output.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
