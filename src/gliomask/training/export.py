"""From a finished training to a model folder: ONNX graph, weights, golden pair and `model.json`, proven before they are
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import JsonValue, ValidationError

from gliomask.engines.base import AGREEMENT_TOLERANCE, EngineSource, InputKind, failure
from gliomask.engines.choose import DEFAULT_ENGINE, open_engine
from gliomask.errors import EngineUnavailableError, FileFormatError, UsageError
from gliomask.files.atomic import refuse_existing
from gliomask.files.json import read_json
from gliomask.io.nifti import write_bytes
from gliomask.models.calibration import CoreNumbers, EnhancementNumbers, Quality, Subsets
from gliomask.models.files import SPEC_NAME, Arrays, pack_arrays, sha256
from gliomask.models.golden import (
    GOLDEN_SHAPES,
    PROBABILITIES,
    check_channel_order_sensitivity,
    check_golden,
    golden_batch,
    golden_input,
    prove,
)
from gliomask.models.spec import (
    ORIENTATION,
    OUTPUT_NAMES,
    SCHEMA_VERSION,
    Graph,
    ModelSpec,
    Normalisation,
    Timing,
    TrainingRecord,
    spec_bytes,
)
from gliomask.networks.catalogue import Network, network
from gliomask.planes import Plane
from gliomask.preprocess.normalise import normalisation
from gliomask.training.config import TrainConfig
from gliomask.training.onnx_graph import to_onnx
from gliomask.training.weights import load_weights

GOLDEN_TOLERANCE = AGREEMENT_TOLERANCE
SPACING_MM = (1.0, 1.0, 1.0)
"""Of BraTS data, which the training reads."""


def export_model(
    run_folder: Path,
    out_folder: Path,
    *,
    name: str,
    licence: str,
    attribution: Iterable[str],
    postprocess: str,
    scores: Mapping[str, JsonValue] | None = None,
    timing: Timing | None = None,
    quality: Quality | None = None,
    subsets: Subsets | None = None,
    ensemble_member: str | None = None,
    core_rule: CoreNumbers | None = None,
    enhancement_rule: EnhancementNumbers | None = None,
    overwrite: bool = False,
) -> ModelSpec:
    """Writes the network of a finished training as a model folder, after OpenVINO (and ONNX Runtime, where installed)
    has reproduced it.

    Args:
        run_folder: as `gliomask train` leaves it: train_run.json and weights.npz.
        out_folder: gets model.onnx, weights.npz, golden.npz and, last, model.json.
        name: the model's name: lower-case letters, digits, dot, dash, underscore.
        licence: of the weights.
        attribution: works and data that must be named with every use.
        postprocess: name of the post-processing that goes with the model.
        scores: measured results, for people to read.
        timing: how long a case takes, where that was measured.
        quality: calibration of the model's own doubts, where there is one.
        subsets: what it is worth without some of the sequences, where that was measured.
        ensemble_member: name of the model that is asked as well.
        core_rule: what is core where hardly any of the tumour enhances, where that was chosen.
        enhancement_rule: what makes enhancement believable, where that was chosen.
        overwrite: replace a model that is there.

    Returns:
        What was written to model.json.

    Raises:
        UsageError: the training has not finished, the folder holds a model already, or the name is impossible.
        FileFormatError: train_run.json cannot be read.
        ModelError: the network cannot be exported, or an engine does not reproduce it.
    """
    refuse_existing([out_folder / SPEC_NAME], overwrite=overwrite, remedy="Give --overwrite to replace the model.")
    record, config = _read_run(run_folder)
    entry = network(config.network)
    model = entry.build(sequences=len(config.sequences), classes=len(OUTPUT_NAMES))
    load_weights(run_folder / "weights.npz", model)
    kind: InputKind = "slices" if len(model.input.shape) == 4 else "volumes"
    weights = {variable.path: np.asarray(variable, np.float32) for variable in model.variables}
    golden = _golden_pair(model, config, kind)
    files = {"model.onnx": to_onnx(model), "weights.npz": pack_arrays(weights), "golden.npz": pack_arrays(golden)}
    spec = _spec(
        entry,
        config,
        name=name,
        parameters=int(model.count_params()),
        input_kind=kind,
        postprocess=postprocess,
        training=_training_record(record, config),
        scores=dict(scores or {}),
        timing=timing,
        quality=quality,
        subsets=subsets,
        second_opinion=ensemble_member,
        core_rule=core_rule,
        enhancement_rule=enhancement_rule,
        licence=licence,
        attribution=tuple(attribution),
        files={file: sha256(content) for file, content in files.items()},
    )
    _prove(
        EngineSource(
            files["model.onnx"], entry.name, weights, kind, entry.slices * len(spec.inputs), entry.size_multiple
        ),
        golden,
        spec,
    )
    _write(out_folder, files, spec)
    return spec


def _read_run(folder: Path) -> tuple[dict[str, Any], TrainConfig]:
    path = folder / "train_run.json"
    if not path.is_file() or not (folder / "weights.npz").is_file():
        raise UsageError(
            f"{folder}: no finished training here: train_run.json or weights.npz is missing. Give the run folder of "
            "gliomask train, after its last epoch."
        )
    try:
        record = read_json(path)
        return record, TrainConfig.model_validate(record["config"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise FileFormatError(
            f"{path}: not the record of a training that can be used ({error}). Train again with this version."
        ) from error


def _training_record(record: Mapping[str, Any], config: TrainConfig) -> TrainingRecord:
    try:
        return TrainingRecord(
            recipe=config.recipe,
            config=record["config"],
            seed=config.seed,
            cases=tuple(record["training_cases"]),
            validation_cases=tuple(record["validation_cases"]),
            held_out_cases=tuple(record["held_out_cases"]),
            started_from=record.get("started_from"),
            **{
                field: record[field] for field in ("fold", "patches", "hours", "backend", "device", "gliomask", "keras")
            },
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise FileFormatError(
            f"train_run.json is not the record of a training that can be used ({error}). Train again with this version."
        ) from error


def _spec(entry: Network, config: TrainConfig, **fields: Any) -> ModelSpec:
    try:
        return ModelSpec(
            schema_version=SCHEMA_VERSION,
            title=entry.title,
            network=entry.name,
            inputs=config.sequences,
            receptive_field=entry.receptive_field,
            size_multiple=entry.size_multiple,
            neighbouring_slices=entry.neighbours,
            halo=entry.halo,
            planes=tuple(plane for plane in Plane if plane in config.planes)
            if Plane.AXIAL in config.planes
            else (Plane.AXIAL,),
            may_miss=config.sequences if config.sequence_dropout else (),
            orientation=ORIENTATION,
            graph=Graph(layout="channels_last", size=None, batch=None, activation="none"),
            spacing_mm=SPACING_MM,
            normalisation=Normalisation(method=config.normalisation, background=normalisation(config.normalisation)[1]),
            outputs=OUTPUT_NAMES,
            foreign=None,
            golden_tolerance=GOLDEN_TOLERANCE,
            **fields,
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(f"The model cannot be described so: {problems}.") from error


def _golden_pair(model: keras.Model, config: TrainConfig, kind: InputKind) -> Arrays:
    background = normalisation(config.normalisation)[1]
    slices = network(config.network).slices
    golden = golden_input(config.sequences, (*GOLDEN_SHAPES[kind], *([slices] if slices > 1 else [])), background)
    batch = golden_batch(golden, config.sequences, slices)
    try:
        golden[PROBABILITIES] = np.asarray(model(batch, training=False), np.float32)[0]
    except Exception as error:  # the backends' exceptions share no base class
        raise failure(error, f"Keras failed on the network '{config.network}' with input {batch.shape}") from error
    return golden


def _prove(source: EngineSource, golden: Arrays, spec: ModelSpec) -> None:
    check_golden(golden, spec, "The exported network")
    with closing(open_engine(DEFAULT_ENGINE, source)) as engine:
        prove(engine, golden, spec)
        check_channel_order_sensitivity(engine, golden, spec)
    try:
        second = open_engine("onnxruntime", source)
    except EngineUnavailableError:
        return
    with closing(second):
        prove(second, golden, spec)


def _write(folder: Path, files: Mapping[str, bytes], spec: ModelSpec) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A folder without model.json is no model: an interrupted export leaves nothing that could be taken for one.
    (folder / SPEC_NAME).unlink(missing_ok=True)
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_bytes(folder / SPEC_NAME, spec_bytes(spec))
