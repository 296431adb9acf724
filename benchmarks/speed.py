r"""Measures how fast gliomask is, against others on the same machine, and writes docs/performance.md's tables:

    python benchmarks/speed.py CASE [--model MODEL] [--repeats 5] [--threads 2] [--peers FOLDER] [--only NAME]... \
        [--quick]

CASE is a BraTS case as released, .nii.gz. MODEL is a shipped model's name or a model folder (default: the default
model). Every measurement is a process of its own, one after the other; run it on a machine that does nothing else. Rows
go to docs/tables/speed.tsv as they come, so that --only can measure some again; the tables in docs/performance.md
between `<!-- table NAME -->` and `<!-- end -->` are written anew from all rows.

NAME is one of: command, shortcuts, plain, peers, volumes, cases, threads. `peers` makes an environment in FOLDER
(torch, monai, dynamic_network_architectures; some GB, once) and leaves it there. --quick: one repeat, small sizes, to
see that everything runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gliomask.engines.precision import processor_flags
from gliomask.models.available import DEFAULT_MODEL
from gliomask.profiling import NETWORK_STAGES

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from whole_command import run_once  # noqa: E402

TABLE, PAGE = ROOT / "docs/tables/speed.tsv", ROOT / "docs/performance.md"
COLUMNS = ("table", "what", "seconds", "low", "high", "repeats", "cpu_s", "peak_mb", "voxels", "extra", "machine")
PAPER_MODEL = "sparse-multi-ocm"
PEERS = ("torch", "monai", "dynamic_network_architectures")

SHORTCUTS: dict[str, dict[str, Any]] = {
    "all on": {},
    "float32 in place of int8": {"options": {"precision": "fp32"}},
    "each box its own size": {"patch": {"gliomask.predict.sizes:NEW_SIZE_PIXELS": 0}},
    "one batch at a time, nothing cut meanwhile": {"patch": {"gliomask.engines.base:Engine.in_flight": 1}},
    "slabs of 4 slices": {"patch": {"gliomask.predict.brain:SLAB_SLICES": 4}},
    "slabs of 16 slices": {"patch": {"gliomask.predict.brain:SLAB_SLICES": 16}},
    "three planes of the whole brain": {"options": {"whole_brain": True}},
    "axial plane alone": {"options": {"single_plane": True}},
    "ONNX Runtime": {"options": {"engine": "onnxruntime"}},
}
"""Each shortcut changed alone; the last ones are options that save time or change the engine."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    case: Path
    model: str
    repeats: int
    threads: int
    peers: Path
    quick: bool


def machine() -> str:
    """The processor in words, as far as Linux says."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    kinds = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if name in processor_flags()]
    return f"{len(os.sched_getaffinity(0))} processors of {model} ({', '.join(kinds)})"


def row(table: str, what: str, seconds: list[float], **more: Any) -> Row:
    """A row of the table: median, least and most seconds."""
    values = {
        "seconds": round(statistics.median(seconds), 3),
        "low": min(seconds),
        "high": max(seconds),
        "repeats": len(seconds),
    }
    return dict.fromkeys(COLUMNS, "") | {"table": table, "what": what, "machine": machine()} | values | more


def child(kind: str, **arguments: Any) -> Any:
    """Runs a measurement of `speed_children.py`; threads of numpy's and Keras's libraries are held to what was asked
    for.
    """
    threads = arguments.pop("environment_threads", None)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    environment = os.environ | ({} if threads is None else dict.fromkeys(names, str(threads)))
    script = [sys.executable, str(ROOT / "benchmarks/speed_children.py"), kind, json.dumps(arguments)]
    found = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    if found.returncode:
        raise SystemExit(f"{kind} {arguments} failed:\n{found.stderr[-2000:]}")
    return json.loads(found.stdout.splitlines()[-1])


def command(asked: Asked) -> Iterable[Row]:
    """The whole command, from process start to the last file."""
    ways = {
        "default": [],
        "default, float32": ["--precision", "fp32"],
        "default, axial plane alone": ["--single-plane"],
    }
    ways |= {"the paper's SparseMultiOCM": ["--network", "sparse"], "default, no picture": ["--no-preview"]}
    for what, options in ways.items():
        model = [] if "--network" in options else ["--model", asked.model]
        with tempfile.TemporaryDirectory() as scratch:
            arguments = [*model, *options, "--threads", str(asked.threads)]
            runs = [run_once(asked.case, arguments, Path(scratch) / str(n)) for n in range(asked.repeats + 1)][1:]
        network = statistics.median(
            sum(float(run[f"{stage.replace(' ', '_')}_s"]) for stage in NETWORK_STAGES) for run in runs
        )
        seconds = [float(run["wall_s"]) for run in runs]
        yield row(
            "command",
            what,
            seconds,
            cpu_s=statistics.median(float(run["cpu_s"]) for run in runs),
            peak_mb=max(float(run["peak_mb"]) for run in runs),
            extra=f"networks {network:.2f} s",
        )


def shortcuts(asked: Asked) -> Iterable[Row]:
    """Ours, warm: what each shortcut saves."""
    for what, change in SHORTCUTS.items():
        options = {"model": asked.model, "threads": asked.threads} | change.get("options", {})
        found = child(
            "ours", case=str(asked.case), options=options, repeats=asked.repeats, patch=change.get("patch", {})
        )
        extra = (
            f"case {statistics.median(found['case_seconds']):.2f} s; {found['precision']}; "
            f"{found['share_of_sgemm']} of sgemm"
        )
        yield row("shortcuts", what, found["seconds"], peak_mb=found["peak_mb"], voxels=found["voxels"], extra=extra)


def plain(asked: Asked) -> Iterable[Row]:
    """The authors' way and plain ONNX Runtime against ours: the same network along the axial plane, and how far the
    label maps agree.
    """
    for model in (PAPER_MODEL, asked.model):
        ways: list[tuple[str, str, Row]] = []
        for name, engine in (("Keras", "keras"), ("ONNX Runtime", "onnxruntime")):
            more: Row = {
                "model": model,
                "engine": engine,
                "repeats": min(asked.repeats, 3),
                "threads": asked.threads,
                "environment_threads": asked.threads,
            }
            ways.append((f"{name}, all full slices in batches of 8", "plain", more))
        for precision in ("fp32", "auto"):
            options = {
                "model": model,
                "threads": asked.threads,
                "precision": precision,
                "single_plane": True,
                "ensemble_member": "none",
            }
            ways.append((f"gliomask, {precision}", "ours", {"options": options, "repeats": asked.repeats}))
        yield from compared(model, ways, asked)


def compared(model: str, ways: list[tuple[str, str, Row]], asked: Asked) -> Iterable[Row]:
    """Rows of one network run in several ways, each with the share of brain voxels that have the label of the first
    way.
    """
    first: Row = {}
    with tempfile.TemporaryDirectory() as scratch:
        for what, kind, arguments in ways:
            path = f"{scratch}/labels.npz"
            found = child(kind, case=str(asked.case), labels=path, **arguments)
            with np.load(path) as file:
                labels = dict(file)
            first = first or labels
            brain = first["brain"]
            equal = float((labels["labels"][brain] == first["labels"][brain]).mean())
            extra = f"labels equal in {100 * equal:.4f} % of brain voxels"
            yield row(
                "plain",
                f"{model}: {what}",
                found["seconds"],
                peak_mb=found["peak_mb"],
                voxels=found["voxels"],
                extra=extra,
            )


def peers(asked: Asked) -> Iterable[Row]:
    """SegResNet and nnU-Net's network with random weights on the brain's box."""
    python = asked.peers / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(asked.peers)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "numpy", *PEERS], check=True)
    from gliomask.io.brats import find_cases, read_case

    mask = read_case(find_cases(asked.case)[0]).brain_mask
    filled = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    shape = [int(found[-1] - found[0]) + 1 for found in filled]
    for name, what in (
        ("segresnet", "MONAI SegResNet, the brain's box at once"),
        ("plainconvunet", "nnU-Net PlainConvUNet, windows of 128 x 128 x 128"),
    ):
        script = [
            str(python),
            str(ROOT / "benchmarks/speed_peers.py"),
            name,
            json.dumps(shape),
            str(asked.threads),
            str(min(asked.repeats, 3)),
        ]
        found = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        yield row(
            "peers",
            what,
            found["seconds"],
            peak_mb=found["peak_mb"],
            voxels=int(np.prod(shape)),
            extra=f"torch {found['torch']}, random weights",
        )


def volumes(asked: Asked) -> Iterable[Row]:
    """How seconds and memory grow with the volume."""
    shapes = [[128, 128, 128], [240, 240, 155], [256, 256, 256], [384, 384, 256], [512, 512, 300]]
    for shape in shapes[: 2 if asked.quick else None]:
        found = child(
            "volume", shape=shape, case=str(asked.case), options={"model": asked.model, "threads": asked.threads}
        )
        name = " x ".join(map(str, shape))
        yield row(
            "volumes",
            name,
            found["seconds"],
            peak_mb=found["peak_mb"],
            voxels=found["voxels"],
            extra=json.dumps(found["stages"]),
        )


def cases(asked: Asked) -> Iterable[Row]:
    """How seconds and memory grow with the number of cases in one command."""
    for count in (1, 3) if asked.quick else (1, 5, 20, 200):
        options = ["--model", asked.model, "--threads", str(asked.threads), "--raw", "never"]
        found = child("cohort", case=str(asked.case), cases=count, options=options)
        yield row(
            "cases",
            str(count),
            found["seconds"],
            peak_mb=found["peak_mb"],
            extra=f"{found['seconds'][0] / count:.2f} s a case",
        )


def threads(asked: Asked) -> Iterable[Row]:
    """One thread against several, and each shipped network."""
    for count in sorted({1, asked.threads}):
        for model in dict.fromkeys((asked.model, PAPER_MODEL, "input-sparse-multi-ocm", "dense-multi-ocm")):
            options = {"model": model, "threads": count}
            found = child("ours", case=str(asked.case), options=options, repeats=asked.repeats)
            extra = f"case {statistics.median(found['case_seconds']):.2f} s"
            name = f"{model}, {count} thread{'s' if count > 1 else ''}"
            yield row("threads", name, found["seconds"], peak_mb=found["peak_mb"], voxels=found["voxels"], extra=extra)


TABLES: dict[str, Callable[[Asked], Iterable[Row]]] = {
    "command": command,
    "shortcuts": shortcuts,
    "plain": plain,
    "peers": peers,
    "volumes": volumes,
    "cases": cases,
    "threads": threads,
}


def read_rows() -> list[Row]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def write_rows(rows: list[Row]) -> None:
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def as_markdown(rows: list[Row], reference: float | None) -> str:
    """A table for the page: seconds with their spread, a ratio to the first row (or to `reference`), memory, and the
    rest.
    """
    first = reference or float(rows[0]["seconds"])
    lines = [
        "| | seconds, median (least to most) | ratio | peak MB | voxels through networks | |",
        "|---|---|---|---|---|---|",
    ]
    for one in rows:
        seconds = f"{float(one['seconds']):.2f} ({float(one['low']):.2f} to {float(one['high']):.2f}; {one['repeats']})"
        voxels = f"{int(one['voxels']):,}" if one["voxels"] not in ("", None) else ""
        lines.append(
            f"| {one['what']} | {seconds} | {float(one['seconds']) / first:.2f} | {float(one['peak_mb']):,.0f} | "
            f"{voxels} | {one['extra']} |"
        )
    software = ", ".join(f"{name} {version(name)}" for name in ("openvino", "numpy"))
    return "\n".join([*lines, "", f"On {rows[0]['machine']}; {software}."])


def write_page(rows: list[Row]) -> None:
    """Writes each table of the page anew that there are rows for."""
    text = PAGE.read_text()
    whole = [float(one["seconds"]) for one in rows if one["table"] == "command" and one["what"] == "default"]
    for name in TABLES:
        of_table, start = [one for one in rows if one["table"] == name], f"<!-- table {name} -->"
        if of_table and start in text:
            before, _, rest = text.partition(start)
            _, _, after = rest.partition("<!-- end -->")
            text = (
                f"{before}{start}\n{as_markdown(of_table, whole[0] if name == 'peers' and whole else None)}\n<!-- "
                f"end -->{after}"
            )
    PAGE.write_text(text)


def main() -> None:
    """Measures what was asked for, writes table and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "gliomask-peers")
    parser.add_argument("--only", action="append", choices=list(TABLES), default=[])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    asked = Asked(
        options.case,
        options.model,
        1 if options.quick else options.repeats,
        options.threads,
        options.peers,
        options.quick,
    )
    rows = read_rows()
    for name in options.only or TABLES:
        rows = [one for one in rows if one["table"] != name]
        for one in TABLES[name](asked):
            rows.append(one)
            print(*(one[column] for column in COLUMNS[:-1]), sep="\t", flush=True)
            write_rows(rows)
    write_page(rows)


if __name__ == "__main__":
    main()
