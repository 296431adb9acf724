"""Makes `web/vectors`: small inputs with what the Python code makes of them, to which the browser's pipeline is held;
and `web/src/dicom/words.json`, the words by which series are recognised.

    python scripts/make_web_vectors.py

Both test suites run on them: `tests/test_web_vectors.py` says whether they are current, `web/test/vectors.test.ts`
whether the browser's pipeline agrees. `pipeline/` is a tiny case, thinned from the sample that comes with the package,
with its label map.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from gliomask.air import find_foreground, measure_air, without_far_air
from gliomask.case import Case
from gliomask.errors import CaseError, GliomaskError
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import explicit_case, find_cases, read_case
from gliomask.io.dicom import descriptions, headers, recognise
from gliomask.labels import Region
from gliomask.models.registry import DEFAULT_MODEL, load_model
from gliomask.nan import without_nan
from gliomask.postprocess import EnhancementRule, postprocess
from gliomask.predict.sizes import Sizes
from gliomask.preprocess.checks import brain_samples, check_case, check_samples, refuse_no_brain
from gliomask.preprocess.normalise import normalise_volume
from gliomask.preprocess.shape import likeness_to_brain, orientation_measures
from gliomask.quality import region_share
from gliomask.report.volumes import measure
from gliomask.segmentation import Options, Segmenter
from gliomask.sequences import PAPER_ORDER, Sequence, sequence_of_file_name

WEB = Path(__file__).resolve().parent.parent / "web"
VECTORS = WEB / "vectors"
WORDS = WEB / "src" / "dicom" / "words.json"
SEED, STEP = 20261127, 3
OBLIQUE = np.array([[0.05, 0.02, -1.1, 30], [0.9, 0.1, 0.1, -20], [-0.1, 1.0, 0.05, 11], [0, 0, 0, 1]])
"""Axes to the front, up and to the left: no axis of the network is where it would be in BraTS."""

Json = dict[str, Any]


def flat(values: npt.NDArray[Any]) -> list[Any]:
    """Values in the order of NIfTI files, NaN as null."""
    return [None if value != value else value for value in values.ravel(order="F").tolist()]


def grids() -> Iterator[Json]:
    """Affines, and how their axes are turned to LPS."""
    diagonal = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1), "LAI": (-1, 1, -1)}
    affines = {name: np.diag([*signs, 1.0]) for name, signs in diagonal.items()} | {"oblique": OBLIQUE}
    affines["half way"] = np.array([[0.8, -0.62, 0, 0], [0.6, 0.79, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    for name, affine in affines.items():
        geometry = Geometry((2, 3, 4), affine)
        values = np.arange(24, dtype=np.float32).reshape(geometry.shape, order="F")
        turn = geometry.reorientation_to("LPS")
        expected = {
            "orientation": geometry.orientation,
            "text": str(geometry),
            "voxel_ml": geometry.voxel_ml,
            "shape": turn.target.shape,
        }
        yield {
            "name": name,
            "affine": affine[:3].tolist(),
            **expected,
            "turned": flat(turn.apply(values)),
            "target": turn.target.affine[:3].tolist(),
        }


def names() -> Json:
    """File names without their ending, and the sequence that each names."""
    stems = (
        "BraTS2021_00000_t1ce",
        "BraTS-GLI-00008-000-t1c",
        "BraTS-GLI-00008-000-t2f",
        "p_T1_Gd",
        "p_t2_flair",
        "flair_to_t1ce",
    )
    more = ("sub-1_ce-gad_T1w", "p_t1", "p.FLA", "p_seg", "", "t1_ce", "p t2w", "p_t1_t2")
    return {stem: sequence_of_file_name(stem) for stem in (*stems, *more)}


SERIES: tuple[str | Json, ...] = (
    *("AX T1", "AX T1 PRE GD", "t1_mprage_sag_p2_iso", "SAG T1 FLAIR", "sT1W_3D_TFE", "T1 SE ohne KM", "3DT1"),
    *("AX T1 POST", "AX T1 +C", "T1 C+", "t1_mprage_tra_KM", "3D T1 BRAVO Gd", "T1W/SE/GD", "T1 apr\u00e8s inj."),
    *("Ax T2 FRFSE", "T2W_TSE", "AX FLAIR POST GD", "t2_space_dark-fluid_sag", "T2 TIRM tra", "3-plane localizer"),
    *("ep2d_diff_3scan_trace_ADC", "AX T2* GRE", "SWI_Images", "rCBV", "TOF_3D_multi-slab", "T2 STIR cor", "PD TSE"),
    *("AX 3D T1 POST W/O FS", "AX T1 GD WITHOUT FAT SAT", "T1 GADO SANS FATSAT", "AX T1 NO FS POST", "AX T1 W/O"),
    *("W/O AX T1", "T1 sin contraste", "T1 W/O FS W/O GD", "AX T1 W/ GD", "AX T1 W/WO", "t1 mit und ohne KM"),
    *("AX T1 POST GAD PRE-OP STEALTH", "AX T1 POST-OP", "AX T1 POSTOP PRE GD", "T1 POST RT", "t1postgd", "T1PRE"),
    *("T1_c", "T1 -C", "T1 FLAIR +C", "ASSET Cal", "T2W/FE-EPI", "gre_fm", "Dual-echo_iso", "FLAIR_ROI", "T2 MPR"),
    *("T1 SAG LWS", "AX T1 subtraction", "something else", "", "phase " * 400, "COR T2 reformatted"),
    *("AX T1 WITH", "T1 con FS", "AX T1 CON", "AX T1 C-", "T1 PRE/POST", "T1 nach KM", "eTHRIVE", "T1CE-T1"),
    *(
        "T1 \u0441 \u043a\u043e\u043d\u0442\u0440\u0430\u0441\u0442\u043e\u043c",
        "T1 \u043d\u0430\u0442\u0438\u0432\u043d\u044b\u0439",
    ),
    *(
        "T1\u589e\u5f3a",
        "T1 \u5e73\u626b",
        "T1\u5f37\u8abf",
        "\u6a2a\u65adT1",
        "T1 \uc870\uc601\uc99d\uac15",
        "T1 f\u00f6re kontrast",
    ),
    *("T2 FFE", "T2 FLASH", "SAG T1 KNIE", "T2 Fu\u00df", "COR T1 pituitary", "t1_mp2rage_INV1", "ref scan"),
    {"description": "AX T1", "contrast_agent": "GADOVIST"},
    {"description": "AX T1 PRE", "contrast_agent": "GADOVIST"},
    {"description": "AX T1", "image_type": ("DERIVED", "SECONDARY", "MPR")},
    {"description": "AX T1", "image_type": ("ORIGINAL", "PRIMARY", "MOSAIC")},
    {"description": "AX T1", "modality": "CT"},
    {"description": "AX T1", "sop_class": "1.2.840.10008.5.1.4.1.1.7"},
    {"description": "AX T1", "photometric": "MONOCHROME1"},
    {"description": "AX T2", "b_value": 1000.0},
    {"acquisition_contrast": "FLUID_ATTENUATED"},
    {"protocol": "AX T1"},
)
"""Descriptions, and further tags, of series."""

TIMINGS = (
    *((600, 12, None, ("SE",)), (2300, 3, 900, ("GR", "IR")), (4500, 100, None, ("SE",))),
    *((9000, 120, 2500, ("SE", "IR")), (4000, 12, None, ("SE",)), (4000, 30, 160, ("SE", "IR"))),
    *((600, 20, None, ("GR",)), (3000, 80, None, ("EP", "SE")), (None, 80, None, ("SE",)), (8.9, 3.2, 300, ("GR",))),
)
"""TR, TE, TI in ms and ScanningSequence."""


def series() -> Iterator[Json]:
    """Tags of series, and what each is taken for and why."""
    blank: Json = {
        **dict.fromkeys(("series_uid", "study_uid", "frame_of_reference_uid", "transfer_syntax"), "1"),
        **{"patient": ("", ""), "identifiers": frozenset(), "number": 1, "images_in_acquisition": None},
        **{"manufacturer": "", "field_strength_t": None},
    }
    told: Json = {
        **{"sop_class": headers.MR_CLASSES[0], "modality": "MR", "samples_per_pixel": 1, "photometric": "MONOCHROME2"},
        **dict.fromkeys(("description", "protocol", "sequence_name", "acquisition_contrast", "contrast_agent"), ""),
        **{"image_type": ("ORIGINAL", "PRIMARY"), "scanning_sequence": (), "b_value": None},
        **dict.fromkeys(("repetition_time_ms", "echo_time_ms", "inversion_time_ms"), None),
    }
    names = ("repetition_time_ms", "echo_time_ms", "inversion_time_ms", "scanning_sequence")
    timed = [
        {"description": words, **dict(zip(names, timing, strict=True))}
        for words in ("", "AX T1", "AX T2", "AX FLAIR")
        for timing in TIMINGS
    ]
    for fields in (*SERIES, *timed):
        tags = told | ({"description": fields} if isinstance(fields, str) else fields)
        guess = recognise.recognise(headers.Tags(**blank, **tags))
        facts = (guess.sequence, guess.reason, guess.named, guess.agent_by_header, guess.reformatted)
        yield {"tags": {name: value for name, value in tags.items() if value != told[name]}, "guess": facts}


def words() -> str:
    """Returns the words by which series are recognised; `web/src/dicom/patterns.ts` reads its regular expressions as
    Python does.
    """
    found = {
        "maxLetters": headers.MAX_LETTERS,
        "agent": descriptions.AGENT.pattern,
        "native": descriptions.NATIVE.pattern,
        "visit": descriptions.VISIT.pattern,
        "place": descriptions.PLACE.pattern,
        "saturation": descriptions.SATURATION.pattern,
        "without": sorted(descriptions.WITHOUT_WORDS),
        "no": sorted(descriptions.NO_WORDS),
        "with": sorted(descriptions.WITH_WORDS),
        "before": sorted(descriptions.BEFORE),
        "after": sorted(descriptions.AFTER),
        "filler": sorted(descriptions.FILLER),
        "kinds": recognise.WORDS,
        "echoPlanar": recognise.ECHO_PLANAR.pattern,
        "reformattedWords": recognise.REFORMATTED_WORDS.pattern,
        "reformatted": recognise.REFORMATTED,
        "derivedKinds": recognise.DERIVED_KINDS,
        "mrClasses": headers.MR_CLASSES,
    }
    # JavaScript spells what a group held $1.
    found["rewritten"] = [(pattern, re.sub(r"\\(\d)", r"$\1", text)) for pattern, text in descriptions.REWRITTEN]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def volumes(generator: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """One head of each kind of air, 14 x 12 x 10 voxels."""
    i, j, k = np.indices((14, 12, 10))
    inside = ((i - 6.5) / 5) ** 2 + ((j - 5.5) / 4.5) ** 2 + ((k - 4.5) / 3.5) ** 2 < 1
    tissue = generator.integers(200, 900, inside.shape).astype(np.float32)
    clean = np.where(inside, tissue, 0).astype(np.float32)
    noise = generator.integers(1, 60, inside.shape).astype(np.float32)
    ringing = clean + np.where(inside, 0, generator.normal(0, 4, inside.shape)).astype(np.float32)
    scores = np.where(inside, generator.normal(0, 1, inside.shape), -9).astype(np.float32)
    outside = clean.copy()
    outside[~inside] = np.nan
    holed = clean.copy()
    holed[:, :, 0] = holed[7, 6, 5] = np.nan
    return {
        "clean": clean,
        "ringing": ringing,
        "noise": np.where(inside, tissue, noise),
        "scores": scores,
        "nan": outside,
        "holed": holed,
    }


def airs(found: dict[str, npt.NDArray[np.float32]]) -> Iterator[Json]:
    """What stands out from air, alone and in company."""
    for together in (
        ("clean",),
        ("ringing",),
        ("noise",),
        ("scores",),
        ("nan",),
        ("holed",),
        ("clean", "noise"),
        ("clean", "ringing", "scores"),
    ):
        cleaned = [without_nan(found[name]) for name in together]
        foreground = find_foreground(
            {Sequence(name): volume for name, (volume, _) in zip(PAPER_ORDER, cleaned, strict=False)}, 0.001
        )
        order = list(foreground.airs)
        yield {
            "volumes": together,
            "nan": [
                (nan.outside, np.ravel_multi_index(tuple(nan.filled.T), found["clean"].shape, order="F").tolist())
                for _, nan in cleaned
            ],
            "clean": [flat(volume) for volume, _ in cleaned],
            "mask": flat(foreground.mask.astype(np.uint8)),
            "airs": [
                {"level": air.level, "bright": air.bright, "signed": air.signed, "filled": air.filled}
                for air in foreground.airs.values()
            ],
            "not_bare": [order.index(sequence) for sequence in foreground.not_bare],
            "faint": foreground.faint,
            "unclean": [order.index(sequence) for sequence in foreground.unclean],
        }


def gaps(found: dict[str, npt.NDArray[np.float32]]) -> Iterator[Json]:
    """Cases with voxels of NaN, and with a part that one sequence does not show, and what is said of them."""
    cut = found["scores"].copy()
    cut[:, :, 7:] = -9
    names = {"nan_is_air", "nan_filled", "part_missing"}
    for what, second in (("whole", found["scores"]), ("holed", found["holed"]), ("cut", cut)):
        scales = {sequence: np.float32(n) for n, sequence in enumerate(PAPER_ORDER, start=1)}
        four = {sequence: found["clean"] * scale for sequence, scale in scales.items()} | {Sequence.T1: second}
        case = Case("gaps", four, Geometry(found["clean"].shape, np.diag([1.0, 1, 1, 1])))
        flags = {flag.name: [flag.message, flag.value] for flag in check_case(case) if flag.name in names}
        yield {"what": what, "t1": flat(second), "flags": flags}


def contrasts() -> Iterator[Json]:
    """The samples of the tiny case in other orders, with the flags of each."""
    volumes, geometry = tiny_case()
    swaps = {
        "as they are": (0, 1, 2, 3),
        "T1 and T1ce": (0, 2, 1, 3),
        "FLAIR and T2": (3, 1, 2, 0),
        "FLAIR and T1": (1, 0, 2, 3),
    }
    for what, order in swaps.items():
        laid = {
            sequence: volumes[PAPER_ORDER[n]].astype(np.float32) for sequence, n in zip(PAPER_ORDER, order, strict=True)
        }
        yield contrast(what, order, "", laid, geometry)
    laid = {sequence: volume.astype(np.float32) for sequence, volume in volumes.items()}
    yield contrast("cut off", (0, 1, 2, 3), "t2", {**laid, Sequence.T2: np.minimum(laid[Sequence.T2], 200)}, geometry)
    yield contrast("the same", (0, 1, 2, 3), "t1", {**laid, Sequence.T1: laid[Sequence.FLAIR] * 2}, geometry)


def contrast(
    what: str, order: tuple[int, ...], changed: str, laid: dict[Sequence, npt.NDArray[np.float32]], geometry: Geometry
) -> Json:
    """One of them; `changed` names the sequence of which T2 was cut off at 200, or that is twice FLAIR."""
    case = Case("tiny", laid, geometry)
    flags = check_samples(brain_samples(case), brain_samples(case, ahead=1))
    return {"what": what, "order": order, "changed": changed, "flags": {flag.name: flag.message for flag in flags}}


MM = 5.0
FIELD = (44, 44, 44)
"""Voxels of the field of view of shapes, and their size in mm; axes to the left, to posterior and up."""

BRAIN = ((0, 0, 15, 66, 84, 54), (0, 42, -38, 48, 36, 26))
SHAPES: dict[str, tuple[tuple[float, ...], ...]] = {
    "a brain": BRAIN,
    "front for back": tuple((x, -y, z, *radii) for x, y, z, *radii in BRAIN),
    "top for bottom": tuple((x, y, -z, *radii) for x, y, z, *radii in BRAIN),
    "lying across": tuple((y, x, z, b, a, c) for x, y, z, a, b, c in BRAIN),
    "a phantom": ((0, 0, 0, 73, 77, 72),),
    "a limb": ((0, 0, 0, 44, 47, 5000),),
    "a slab of a head": ((0, 0, -10, 82, 105, 28),),
    "the front of a brain": ((0, -60, 15, 66, 60, 54),),
    "a knee": ((0, 26, -20, 82, 45, 36), (0, -24, 24, 76, 46, 40)),
    "a calf": ((0, 10, 25, 60, 50, 70), (0, -15, -45, 55, 55, 40)),
    "a slab of a knee": ((0, 0, -30, 74, 60, 150, 32), (0, 10, 30, 72, 66, 150, 32)),
    "a bottle on its side": ((0, 30, 0, 44, 60, 44), (0, -60, 0, 26, 44, 26)),
    "a foot": ((0, 50, 15, 36, 36, 90), (0, -15, -60, 40, 90, 28)),
    "a brain on its back": tuple((x, z, -y, a, c, b) for x, y, z, a, b, c in BRAIN),
    "hardly anything": ((0, 0, 0, 20, 20, 20),),
}
"""Ellipsoids: centre and radii in mm, from the middle of the field of view, and how far up and down from there they
reach at most.
"""


def shapes() -> Iterator[Json]:
    """Masks made of ellipsoids, how each lies, and what is said of it."""
    geometry = Geometry(FIELD, np.diag([-MM, -MM, MM, 1]))
    along = [(np.arange(n) - n / 2 + 0.5) * MM for n in FIELD]
    x, y, z = np.meshgrid(*along, indexing="ij")
    i, j, k = np.indices(FIELD)
    for what, ellipsoids in SHAPES.items():
        inside = np.zeros(FIELD, bool)
        for left, back, up, a, b, c, *high in ellipsoids:
            within = ((x - left) / a) ** 2 + ((y - back) / b) ** 2 + ((z - up) / c) ** 2 < 1
            inside |= within & (np.abs(z) < (high or [np.inf])[0])
        laid = {
            sequence: np.where(inside, 100 + (7 * i + 3 * j + 5 * k + 11 * n * i) % 50, 0).astype(np.float32)
            for n, sequence in enumerate(PAPER_ORDER)
        }
        case = Case("shape", laid, geometry)
        measures = orientation_measures(inside, geometry)
        refused = None
        try:
            refuse_no_brain(case)
        except CaseError as error:
            refused = str(error)
        flags = {
            flag.name: flag.message for flag in check_case(case) if flag.name in ("orientation_wrong", "unlike_brain")
        }
        yield {
            "what": what,
            "ellipsoids": ellipsoids,
            "voxels": int(inside.sum()),
            "measures": measures and vars(measures),
            "likeness": likeness_to_brain(inside, geometry),
            "refused": refused,
            "flags": flags,
        }


def far_airs(found: dict[str, npt.NDArray[np.float32]]) -> Iterator[Json]:
    """Volumes whose air is a constant, and what the brain's statistics see of it."""
    for level in (-32768.0, -9.0, 5000.0, 150.0):
        volume = np.where(found["clean"] == 0, np.float32(level), found["clean"])
        air = measure_air(volume)
        yield {"level": level, "measured": air.level, "values": flat(without_far_air(volume, air))}


def tile_sizes() -> Iterator[Json]:
    """Sizes of tiles as three planes of a case ask for them, one after the other, and what is used in their place."""
    planes = [
        [(8, 128, 160)] * 9 + [(8, 112, 128), (8, 80, 96), (6, 48, 64), (8, 144, 176)],
        [(8, 96, 80), (8, 80, 80), (3, 48, 64)],
        [(8, 96, 80), (5, 64, 96)],
    ]
    sizes = Sizes()
    for wanted in planes:
        chosen = sizes.of(wanted)
        yield {"wanted": wanted, "used": [chosen[size] for size in wanted]}


def label_maps(generator: np.random.Generator) -> Iterator[Json]:
    """Label maps of blobs, after post-processing and after the rule for enhancement, and their volumes."""
    spacing = (1.0, 1.0, 1.2)
    rule = EnhancementRule(probability=0.9, seed_ml=0.003)
    for density in (0.05, 0.12, 0.3):
        shape = (9, 8, 7)
        labels = np.where(generator.random(shape) < density, generator.integers(1, 4, shape), 0).astype(np.uint8)
        labels[2:5, 2:5, 2:4] = 3
        probabilities = generator.dirichlet((0.3, 0.3, 0.3, 1.0), shape).astype(np.float32)
        cleaned = postprocess(labels, "3d", spacing)
        confirmed, removed = rule.confirm(labels, region_share(probabilities, Region.ET), spacing)
        yield {
            "shape": shape,
            "spacing_mm": spacing,
            "labels": flat(labels),
            "probabilities": np.moveaxis(probabilities, -1, 0).ravel(order="F").tolist(),
            "3d": flat(cleaned),
            "confirmed": flat(confirmed),
            "removed": [removed.components, removed.volume_ml],
            "tsv": measure(labels, Geometry(shape, np.diag([*spacing, 1.0]))).to_tsv(),
        }


def functions() -> Json:
    """Returns the vectors of single functions."""
    generator = np.random.default_rng(SEED)
    found = volumes(generator)
    brain = found["clean"] > 0
    return {
        "grids": list(grids()),
        "names": names(),
        "shape": found["clean"].shape,
        "volumes": {name: flat(volume) for name, volume in found.items()},
        "brain": flat(brain.astype(np.uint8)),
        "normalised": {name: flat(normalise_volume(found[name], brain)) for name in ("clean", "ringing", "scores")},
        "airs": list(airs(found)),
        "gaps": list(gaps(found)),
        "headers": list(written_headers()),
        "odd_headers": list(odd_headers()),
        "contrasts": list(contrasts()),
        "sizes": list(tile_sizes()),
        "series": list(series()),
        "field": {"shape": FIELD, "mm": MM},
        "shapes": list(shapes()),
        "far_airs": list(far_airs(found)),
        "label_maps": list(label_maps(generator)),
    }


def header(version: int = 1, **fields: Any) -> bytes:
    """A header of 4 x 4 x 4 int16 voxels, with these fields changed."""
    made = (Nifti1Header if version == 1 else Nifti2Header)()
    made.set_data_shape((4, 4, 4))
    made.set_data_dtype(np.int16)
    made.set_sform(np.eye(4), code=1)
    made["vox_offset"] = len(made.binaryblock) + 4
    for name, value in fields.items():
        made[name] = value
    return bytes(made.binaryblock + bytes(4))


def bad_files() -> dict[str, bytes]:
    """Files that are refused, by what is wrong with them."""
    voxels = np.arange(64, dtype="<i2").tobytes()
    changed: dict[str, Json] = {
        "an axis of nothing": {"dim": [3, 4, 0, 4, 1, 1, 1, 1]},
        "four axes": {"dim": [4, 4, 4, 4, 2, 1, 1, 1]},
        "two axes": {"dim": [2, 4, 4, 1, 1, 1, 1, 1]},
        "a large claim": {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]},
        "complex numbers": {"datatype": 32},
        "colours": {"datatype": 128},
        "an unknown type": {"datatype": 77},
        "an odd offset": {"vox_offset": 100},
        "a fraction of an offset": {"vox_offset": 352.5},
        "a negative slope": {"scl_slope": -2, "scl_inter": 0},
        "an infinite intercept": {"scl_slope": 1, "scl_inter": np.inf},
        "an unknown code": {"sform_code": 9},
        "micrometres": {"xyzt_units": 3},
        "no spacing": {"pixdim": [1, 1, 0, 1, 1, 1, 1, 1]},
        "a flat affine": {"srow_z": [1, 0, 0, 0]},
        "an affine that is no number": {"srow_x": [np.nan, 0, 0, 0]},
        "a giant voxel": {"srow_x": [2000, 0, 0, 0]},
        "a long quaternion": {"sform_code": 0, "qform_code": 1, "quatern_b": 1, "quatern_c": 0.5},
        "another magic": {"magic": b"ni1"},
        "a quaternion more than a rounding error too long": {
            **{"sform_code": 0, "qform_code": 1, "quatern_b": 1.0001},
        },
        "a negative spacing without a sform": {"sform_code": 0, "qform_code": 1, "pixdim": [1, -1, 1, 1, 1, 1, 1, 1]},
    }
    made = {what: header(**fields) + voxels for what, fields in changed.items()}
    texts = {
        "no scan": b"this is no scan",
        "nothing": b"",
        "a zip": b"PK\3\4" + bytes(400),
        "an NRRD": b"NRRD0004" + bytes(400),
    }
    dicom = {"a DICOM file": bytes(128) + b"DICM" + bytes(400), "half a header": header()[:200]}
    return {
        **made,
        **texts,
        **dicom,
        "half a volume": header() + voxels[:50],
        "too much": header() + bytes(200_000),
        "NIfTI-2 cut": header(2)[:400],
    }


def odd_headers() -> Iterator[Json]:
    """Headers that are odd and still read: the affine, and whether the two orientations are flagged."""
    kinds: dict[str, Json] = {
        "pixdim[0] of 0": {"pixdim": [0, 2, 2, 2, 1, 1, 1, 1], "sform_code": 0, "qform_code": 1},
        "pixdim[0] of -3": {"pixdim": [-3, 2, 2, 2, 1, 1, 1, 1], "sform_code": 0, "qform_code": 1},
        "a negative spacing beside a sform": {"pixdim": [1, -1, 1, 1, 1, 1, 1, 1]},
        "a quaternion a rounding error too long": {"sform_code": 0, "qform_code": 1, "quatern_b": 1.00004},
        "two orientations": {"qform_code": 1, "quatern_b": 1},
        "a qform that is no rotation": {"qform_code": 1, "quatern_b": 1, "quatern_c": 0.5},
    }
    voxels = np.arange(64, dtype="<i2").tobytes()
    for version in (1, 2):
        for what, fields in kinds.items():
            content = header(version, **fields) + voxels
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "p_flair.nii"
                path.write_bytes(content)
                scan = nifti.read_volume(path)
                nifti.write_volume(Path(folder) / "p.nii", np.zeros((4, 4, 4), np.uint8), scan.geometry, scan.header)
                written = (Path(folder) / "p.nii").read_bytes()[:-64]
            four = {sequence: scan.values * np.float32(n) for n, sequence in enumerate(PAPER_ORDER, start=1)}
            flags = check_case(Case("p", four, scan.geometry, header=scan.header))
            yield {
                "what": f"NIfTI-{version}, {what}",
                "file": base64.b64encode(content).decode(),
                "affine": scan.geometry.affine[:3].tolist(),
                "written": base64.b64encode(written).decode(),
                "flags": {flag.name: flag.message for flag in flags if flag.name == "two_orientations"},
            }


def refusals() -> list[Json]:
    """Returns bad input with Python's words."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for what, content in bad_files().items():
            path = Path(folder) / "p_flair.nii"
            path.write_bytes(content)
            message = refusal(lambda path=path: nifti.read_volume(path))
            # A long run of zeros is told by its length.
            packed = base64.b64encode(content.rstrip(b"\0")).decode()
            found.append(
                {"what": what, "bytes": len(content), "start": packed, "message": message.replace(str(path), path.name)}
            )
    return found


def bad_cases() -> list[Json]:
    """Returns four volumes that make no case, with Python's words; values and affines of each."""
    ramp = np.arange(64, dtype=np.float32).reshape((4, 4, 4), order="F")
    four = {sequence: (ramp + n**2 * (ramp % 7), np.eye(4)) for n, sequence in enumerate(PAPER_ORDER)}
    moved, turned = np.eye(4), np.diag([2.0, 1, 1, 1])
    moved[0, 3] = 0.5
    nan = ramp.copy()
    nan[1, 2, 1] = np.nan
    kinds: dict[str, dict[Sequence, tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]]] = {
        "moved": {Sequence.T1: (ramp * 2, moved)},
        "other spacing": {Sequence.T2: (ramp * 2, turned)},
        "empty": {Sequence.T1: (np.zeros_like(ramp), np.eye(4))},
        "one value": {Sequence.T1CE: (np.full_like(ramp, 7.5), np.eye(4))},
        "not a number": {Sequence.FLAIR: (nan, np.eye(4))},
        "a CT": {Sequence.T2: (np.where(ramp < 32, -1000, ramp).astype(np.float32), np.eye(4))},
        "a CT with a circle": {Sequence.T2: (np.where(ramp < 32, -3024, ramp).astype(np.float32), np.eye(4))},
        "twice the same": {Sequence.T2: four[Sequence.T1]},
        "two slices": {sequence: (volume[:, :, :2], affine) for sequence, (volume, affine) in four.items()},
    }
    return [bad_case(what, four | changed) for what, changed in kinds.items()]


def bad_case(what: str, volumes: dict[Sequence, tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]]) -> Json:
    """Returns one of them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {sequence: Path(folder) / f"p_{sequence}.nii" for sequence in PAPER_ORDER}
        for sequence, path in paths.items():
            values, affine = volumes[sequence]
            nifti.write_volume(path, values, Geometry(values.shape, affine))
        message = refusal(lambda: read_case(explicit_case("p", paths)))
        text = message.replace(f"{folder}/", "")
    files = {s: {"shape": v.shape, "values": flat(v), "affine": a[:3].tolist()} for s, (v, a) in volumes.items()}
    return {"what": what, "files": files, "message": text}


def refusal(read: Callable[[], object]) -> str:
    """Returns the words with which something is refused."""
    try:
        read()
    except GliomaskError as error:
        return str(error)
    raise AssertionError("was not refused")


def written_headers() -> Iterator[Json]:
    """Headers of scans, and the header of the label map that is written in their grid, byte for byte."""
    fields: Json = {
        "descrip": b"a name",
        "aux_file": b"a file",
        "intent_name": b"an intent",
        "intent_code": 5,
        "cal_max": 9.5,
        "toffset": 3.0,
        "xyzt_units": 10,
    }
    labels = np.zeros((4, 4, 4), np.uint8)
    for version, order in ((1, "<"), (1, ">"), (2, "<"), (2, ">")):
        made = (Nifti1Header if version == 1 else Nifti2Header)(
            header(version, **fields)[: 348 if version == 1 else 540], check=False
        )
        source = made.as_byteswapped(order).binaryblock
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "p.nii"
            nifti.write_volume(path, labels, Geometry(labels.shape, np.eye(4)), source)
            file = path.read_bytes()
        found = {
            "source": base64.b64encode(source).decode(),
            "written": base64.b64encode(file[: -labels.size]).decode(),
        }
        yield {"what": f"NIfTI-{version} {order}", **found}


def tiny_case() -> tuple[dict[Sequence, npt.NDArray[np.int16]], Geometry]:
    """Every third voxel of the sample, cropped to its brain; its axes are laid out as no scan of BraTS has them."""
    with as_file(files("gliomask") / "sample") as folder:
        case = read_case(find_cases(folder)[0])
    brain = case.brain_mask[::STEP, ::STEP, ::STEP]
    bounds = [(int(found.min()), int(found.max()) + 1) for found in np.nonzero(brain)]
    box = tuple(slice(max(low - 1, 0), high + 1) for low, high in bounds)
    laid = {sequence: volume[::STEP, ::STEP, ::STEP][box].astype(np.int16) for sequence, volume in case.volumes.items()}
    # From LPS to axes that run to the front, up and to the left.
    turned = {
        sequence: np.ascontiguousarray(np.flip(volume, 1).transpose(1, 2, 0)) for sequence, volume in laid.items()
    }
    i, j, k = next(iter(turned.values())).shape
    return turned, Geometry((i, j, k), np.array([[0, 0, -1.0, 20], [1.0, 0, 0, -30], [0, 1.0, 0, 5], [0, 0, 0, 1]]))


def write_pipeline(folder: Path) -> None:
    """Writes the tiny case and what the default model makes of it."""
    volumes, geometry = tiny_case()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {sequence: folder / f"tiny_{sequence}.nii.gz" for sequence in PAPER_ORDER}
    for sequence, path in paths.items():
        nifti.write_volume(path, volumes[sequence], geometry, overwrite=True)
    with Segmenter(Options(precision="fp32")) as segmenter:
        result = segmenter.run(read_case(explicit_case("tiny", paths)))
    nifti.write_volume(folder / "tiny_seg.nii.gz", result.label_map, geometry, overwrite=True)
    facts = {
        "model": load_model(DEFAULT_MODEL).sha256,
        "labels": np.bincount(result.label_map.ravel(), minlength=4).tolist(),
        "expected_dice": {region.value: round(value, 5) for region, value in result.expected_dice.items()},
        "flags": {flag.name: flag.message for flag in result.flags},
        "removed": result.removed_enhancement
        and [result.removed_enhancement.components, round(result.removed_enhancement.volume_ml, 6)],
    }
    (folder / "tiny.json").write_text(json.dumps(facts, indent=1) + "\n")


def tables() -> dict[str, str]:
    """Returns the files of vectors that are text."""
    contents = {"functions.json": functions(), "refusals.json": {"files": refusals(), "cases": bad_cases()}}
    return {
        name: json.dumps(content, separators=(",", ":")).replace('],"', '],\n"') + "\n"
        for name, content in contents.items()
    }


if __name__ == "__main__":
    VECTORS.mkdir(parents=True, exist_ok=True)
    WORDS.write_text(words())
    for name, text in tables().items():
        (VECTORS / name).write_text(text)
    write_pipeline(VECTORS / "pipeline")
