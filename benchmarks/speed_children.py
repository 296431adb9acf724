"""What `benchmarks/speed.py` times, each in a process of its own:
`python benchmarks/speed_children.py KIND ARGUMENTS-AS-JSON`.

Prints one line of JSON: seconds of each repeat after one that is not counted, peak memory, and what else there is to
say. Label maps go to `labels`, where named.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Result = dict[str, Any]


def timed(work: Callable[[], Any], repeats: int, warm_up: int = 1) -> tuple[list[float], Any]:
    """Returns the seconds of each repeat, and what the last one returned."""
    for _ in range(warm_up):
        found = work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        seconds.append(round(time.perf_counter() - start, 4))
    return seconds, found


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def prepared_case(case: str, model: str) -> Any:
    from gliomask.io.brats import find_cases, read_case
    from gliomask.models.registry import load_model
    from gliomask.preprocess.channels import prepare

    loaded = load_model(model)
    return prepare(read_case(find_cases(Path(case))[0]), loaded.spec.inputs, loaded.spec.normalisation.method), loaded


def full_slices(case: str, model: str) -> tuple[Any, Any, list[np.ndarray]]:
    """Returns the normalised case, the model, and all of its slices, whole, in batches of 8, as the paper's
    `prediction.py` takes them.
    """
    from gliomask.predict.brain import NetworkShape, slice_batch

    prepared, loaded = prepared_case(case, model)
    spec = loaded.spec
    network = NetworkShape(spec.input_kind, spec.halo, spec.size_multiple, spec.neighbouring_slices)
    depth = prepared.brain.shape[2]
    return prepared, loaded, [slice_batch(prepared, network, slice(k, min(k + 8, depth))) for k in range(0, depth, 8)]


def plain(case: str, model: str, engine: str, repeats: int, threads: int, labels: str) -> Result:
    """(a) and (d): the network on all full slices in batches of 8, one after the other, by Keras or ONNX Runtime as it
    comes.
    """
    from gliomask.engines.choose import open_engine

    prepared, loaded, batches = full_slices(case, model)
    opened = open_engine(engine, loaded.source, threads)
    seconds, answers = timed(lambda: [opened.predict(batch) for batch in batches], repeats)
    save_labels(prepared, np.concatenate(answers), labels)
    return {"seconds": seconds, "peak_mb": peak_mb(), "voxels": sum(batch[..., 0].size for batch in batches)}


def save_labels(prepared: Any, stack: np.ndarray, path: str) -> None:
    i, j, _ = prepared.brain.shape
    found = np.moveaxis(stack.argmax(axis=-1)[:, :i, :j], 0, 2).astype(np.uint8)
    found[~prepared.brain] = 0
    np.savez_compressed(path, labels=found, brain=prepared.brain)


def ours(
    case: str, options: dict[str, Any], repeats: int, labels: str = "", patch: dict[str, Any] | None = None
) -> Result:
    """(e), warm: a model that is open, one case after the other; only the network stages are counted as `seconds`, all
    of the case as `case_seconds`.
    """
    apply_patch(patch or {})
    from gliomask.io.brats import find_cases, read_case
    from gliomask.profiling import NETWORK_STAGES, profiling
    from gliomask.segmentation import Delivery, Options, Segmenter
    from gliomask.segmentation.cases import segment_to_files
    from gliomask.segmentation.source import FileSource

    network, whole = [], []
    with tempfile.TemporaryDirectory() as folder, Segmenter(Options(**options)) as segmenter:
        files = find_cases(Path(case))[0]
        for _ in range(repeats + 1):
            start = time.perf_counter()
            result = segment_to_files(segmenter, FileSource(files), Path(folder), Delivery(overwrite=True))
            whole.append(round(time.perf_counter() - start, 4))
            network.append(round(sum(result.seconds.get(name, 0.0) for name in NETWORK_STAGES), 4))
        with profiling() as profile:
            segmenter.run(read_case(files))
        measured = profile.measured()
        if labels:
            raw = segmenter.run(read_case(files))
            found = raw.probabilities.argmax(axis=-1).astype(np.uint8)
            np.savez_compressed(labels, labels=found, brain=read_case(files).brain_mask)
    work = measured["networks"]
    return {
        "seconds": network[1:],
        "case_seconds": whole[1:],
        "peak_mb": peak_mb(),
        "voxels": sum(one["voxels"] for one in work.values()),
        "share_of_sgemm": measured["share_of_sgemm"],
        "precision": segmenter.options.precision,
    }


def apply_patch(patch: dict[str, Any]) -> None:
    """Sets module constants, such as {"gliomask.predict.sizes:NEW_SIZE_PIXELS": 0}: a shortcut that has no option is
    switched off so.
    """
    from importlib import import_module

    for place, value in patch.items():
        module, _, name = place.partition(":")
        target: Any = import_module(module)
        *owners, last = name.split(".")
        for owner in owners:
            target = getattr(target, owner)
        setattr(target, last, property(lambda self, value=value: value) if owners else value)


def volume(shape: list[int], case: str, options: dict[str, Any]) -> Result:
    """How cost grows with the volume: the case's brain drawn larger or smaller by whole voxels, so that it fills a grid
    of that shape, and segmented once.
    """
    from gliomask.case import Case
    from gliomask.geometry import Geometry
    from gliomask.io.brats import find_cases, read_case
    from gliomask.segmentation import Options, Segmenter

    before = read_case(find_cases(Path(case))[0])
    scale = [want / have for want, have in zip(shape, before.geometry.shape, strict=True)]
    index = np.ix_(
        *[
            np.minimum((np.arange(want) / by).astype(int), have - 1)
            for want, by, have in zip(shape, scale, before.geometry.shape, strict=True)
        ]
    )
    affine = before.geometry.affine @ np.diag([*(1 / by for by in scale), 1.0])
    larger = Case(
        "larger",
        {name: np.asfortranarray(one[index]) for name, one in before.volumes.items()},
        Geometry(tuple(shape), affine),
    )
    del before
    with Segmenter(Options(**options)) as segmenter:
        start = time.perf_counter()
        result = segmenter.run(larger)
        seconds = time.perf_counter() - start
    return {
        "seconds": [round(seconds, 3)],
        "stages": result.seconds,
        "peak_mb": peak_mb(),
        "voxels": int(np.prod(shape)),
    }


def cohort(case: str, cases: int, options: list[str]) -> Result:
    """How cost grows with the number of cases: as many links to one case, segmented by one command."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(case).resolve()
        for n in range(cases):
            folder = Path(scratch) / "cases" / f"case_{n:03d}"
            folder.mkdir(parents=True)
            for path in source.iterdir():
                (folder / path.name.replace(source.name, folder.name)).symlink_to(path)
        program = str(Path(sys.executable).with_name("gliomask"))
        arguments = [program, "segment", f"{scratch}/cases", "-o", f"{scratch}/out", *options]
        start = time.perf_counter()
        pid = os.posix_spawn(
            program, arguments, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        )
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"gliomask segment failed with status {status}")
    return {"seconds": [round(seconds, 3)], "peak_mb": round(usage.ru_maxrss * 1024 / 1e6), "cases": cases}


def main() -> None:
    """Runs one kind and prints what came of it."""
    kinds: dict[str, Callable[..., Result]] = {"plain": plain, "ours": ours, "volume": volume, "cohort": cohort}
    print(json.dumps(kinds[sys.argv[1]](**json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
