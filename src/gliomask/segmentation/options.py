"""Every option of a segmentation, described once: the command line, the Python signature, the run record and
docs/options.md are made from here.

`Options` decide what is computed, `Delivery` what is written of it and how.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from gliomask.errors import UsageError
from gliomask.labels import LabelConvention, convention
from gliomask.models.available import DEFAULT_MODEL
from gliomask.sequences import Sequence, parse_sequence

Group = Literal["network", "scans", "output", "running"]
"""Under which heading the help shows an option."""

MAX_THREADS = 4096
"""More than any machine has processors; engines fail on numbers beyond 32 bits in ways of their own."""

MAX_MEMORY_MB = 1 << 30
"""A petabyte: more than any machine has."""

NO_OTHER = "none"
"""As the name of a second ensemble member: none is asked for."""

Mode = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Spec:
    """What the command line and the documents say of an option.

    Args:
        flags: how it is written on the command line, the first for the documents.
        help: one sentence.
        group: under which heading.
        since: the version that brought it.
        choices: the values that it may have; empty: any.
        metavar: what stands for the value.
        several: it may be given several times.
        kind: `text`, `number`, `path`, or `flag`, which takes no value.
        shown: the default in words, where the value does not say it.
        least: the smallest number; None: any.
        formerly: the field's earlier name, which still works and warns; empty: it had none.
    """

    flags: tuple[str, ...]
    help: str
    group: Group
    since: str = "0.1.0"
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    several: bool = False
    kind: Literal["text", "number", "path", "flag"] = "text"
    shown: str | None = None
    least: int | None = None
    formerly: str = ""


def option(default: Any, *flags: str, help: str, group: Group, **more: Any) -> Any:
    """A field of an options class with its description."""
    return field(default=default, metadata={"spec": Spec(flags, help, group, **more)})


def described(options: type) -> dict[str, tuple[Field[Any], Spec]]:
    """Returns the fields of an options class that have a description, with it, by name."""
    return {one.name: (one, one.metadata["spec"]) for one in fields(options) if "spec" in one.metadata}


@dataclass(frozen=True)
class Options:
    """How to segment. The defaults are those of the command line; `gliomask.segment` takes these names.

    Raises:
        UsageError: an option has a value that does not exist; values that depend on a model are refused by `Segmenter`.
    """

    model: str = option(
        DEFAULT_MODEL,
        "--network",
        "--model",
        help="A network of the paper (sparse, input-sparse, dense), a shipped model, or a model folder.",
        group="network",
        shown="the default model",
    )
    engine: str = option(
        "openvino",
        "--engine",
        help="What runs the network.",
        group="network",
        choices=("openvino", "onnxruntime", "keras"),
    )
    precision: str = option(
        "auto",
        "--precision",
        help="Numbers to compute in: whole numbers of eight bits (int8) are quicker, where the model has them; auto "
        "takes what is quicker here.",
        group="network",
        choices=("auto", "fp32", "int8"),
    )
    patches: str = option(
        "whole", "--patches", help="How slices are cut.", group="network", choices=("whole", "adjacent", "overlapping")
    )
    patch_size: int = option(64, "--patch-size", help="Side of a patch, pixels.", group="network", kind="number")
    stride: int | None = option(
        None,
        "--stride",
        help="Distance between overlapping patches.",
        group="network",
        kind="number",
        shown="the paper's half-patch offset",
    )
    postprocess: str | None = option(
        None,
        "--postprocess",
        help="What is done to the networks' answer.",
        group="network",
        choices=("none", "1", "1+2", "legacy", "3d"),
        shown="the one the model was chosen with",
    )
    bias_correction: bool = option(
        False,
        "--n4",
        help="Correct the bias field first: for networks trained so, the shipped ones do worse with it (needs the "
        "extra n4; adds a minute).",
        group="network",
        kind="flag",
    )
    flips: bool = option(
        False,
        "--flips",
        help="Average over mirror images of each slice: somewhat better, four times as long.",
        group="network",
        kind="flag",
    )
    ensemble_member: str | None = option(
        None,
        "--ensemble-member",
        help="Second model to be asked, where the first suspects tumour: their probabilities are averaged; or none.",
        group="network",
        formerly="second_opinion",
        metavar="MODEL",
        shown="the model's own",
    )
    core_rule: bool = option(
        True,
        "--core-rule/--no-core-rule",
        help="In a tumour that hardly enhances, call core what the model's rule for such tumours says, "
        "where it has one.",
        group="network",
        kind="flag",
    )
    keep_uncertain_enhancement: bool = option(
        False,
        "--keep-uncertain-enhancement",
        help="Leave enhancement in that the model's rule would call core, because no part of it is certain.",
        group="network",
        kind="flag",
    )
    single_plane: bool = option(
        False,
        "--single-plane",
        help="Ask the axial view alone, also where the model learned from three planes: quicker, somewhat worse.",
        group="network",
        kind="flag",
    )
    whole_brain: bool = option(
        False,
        "--whole-brain",
        help="Ask all planes over the whole brain at once, not only where a first look was not enough: two to three "
        "times as long.",
        group="network",
        kind="flag",
    )
    raw: Mode = option(
        "auto",
        "--raw",
        help="Register and strip raw scans first (extra raw): where they need it, always, or never.",
        group="scans",
        choices=("auto", "always", "never"),
    )
    skip: tuple[str, ...] = option(
        (),
        "--skip",
        help="Steps of native-space preprocessing to leave out, with commas: coregister, frame, mask.",
        group="scans",
        metavar="STEPS",
    )
    brain_mask: Path | None = option(
        None,
        "--brain-mask",
        help="Brain mask on the grid of one of the sequences, for raw scans.",
        group="scans",
        kind="path",
    )
    transforms: tuple[str, ...] = option(
        (),
        "--transform",
        help="Transform of ITK or ANTs that resamples one sequence of a raw case into another, or into a template "
        "(brats, mni152), in place of our registration: t1-to-t1ce=FILE; may be repeated.",
        group="scans",
        metavar="A-to-B=FILE",
        several=True,
    )
    max_memory_mb: int | None = option(
        None,
        "--max-memory",
        help="Most memory: fewer slices then go through the networks together, which is slower. On Linux.",
        group="running",
        kind="number",
        metavar="MB",
        least=100,
        shown="what is quickest",
    )
    threads: int | None = option(
        None,
        "--threads",
        help="CPU threads.",
        group="running",
        kind="number",
        least=1,
        shown="all that the process may use",
    )

    def __post_init__(self) -> None:
        if self.raw not in get_args(Mode):
            raise UsageError(
                f"There is no mode '{self.raw}' of native-space preprocessing. Known ones: {', '.join(get_args(Mode))}."
            )
        object.__setattr__(self, "skip", words(self.skip))
        if self.skip:
            # Imported here, for it brings scipy with it: a help text needs none.
            from gliomask.preprocess.raw.interface import refuse_unknown_steps

            refuse_unknown_steps(self.skip)
        transform_files(self.transforms)
        object.__setattr__(self, "transforms", tuple(self.transforms))
        object.__setattr__(self, "brain_mask", None if self.brain_mask is None else Path(self.brain_mask))
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads were asked for; at least 1 is needed.")
        if self.threads is not None and self.threads > MAX_THREADS:
            raise UsageError(
                f"{self.threads:,} threads were asked for; up to {MAX_THREADS:,} can be. Leave --threads out for all "
                "that there are."
            )
        if self.max_memory_mb is not None and not 1 <= self.max_memory_mb <= MAX_MEMORY_MB:
            raise UsageError(
                f"{self.max_memory_mb:,} MB of memory were named; from 1 to {MAX_MEMORY_MB:,} can be. Leave "
                "--max-memory out for no limit."
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of one patient that the options name: inputs, beside the scans."""
        mask = () if self.brain_mask is None else (self.brain_mask,)
        return (*mask, *(path for _, _, path in transform_files(self.transforms)))


@dataclass(frozen=True)
class Delivery:
    """What is written of a case, and how; `Segmentation.save` takes these names.

    Args:
        labels: convention of the label map on disk: its name, or the convention itself.

    Raises:
        UsageError: there is no such convention, format or sequence.
    """

    labels: LabelConvention = field(
        default_factory=lambda: convention("brats2021"),
        metadata={
            "spec": Spec(
                ("--labels",),
                "brats2021 writes 4 for enhancing tumour, brats2023 writes 3.",
                "output",
                shown="brats2021",
            )
        },
    )
    probabilities: bool = option(
        False, "--probabilities", help="Also write the probability of each label, 4-D.", group="output", kind="flag"
    )
    uncertainty: bool = option(
        False,
        "--uncertainty",
        help="Also write how unsure the network is of each voxel (entropy); with --flips also how far mirror "
        "images disagree.",
        group="output",
        kind="flag",
    )
    preview: bool = option(True, "--preview/--no-preview", help="Draw the picture.", group="output", kind="flag")
    report: tuple[str, ...] = option(
        (),
        "--report",
        help="Also write the report: html, pdf, json; several separated by commas.",
        group="output",
        metavar="FORMATS",
    )
    spaces: tuple[Sequence, ...] = option(
        (),
        "--space",
        help="Also write a raw case's label map in this sequence's grid; may be repeated.",
        group="output",
        metavar="SEQUENCE",
        several=True,
    )
    keep_images: bool = option(
        False, "--keep-images", help="Also write a raw case's sequences in BraTS space.", group="output", kind="flag"
    )
    deface: bool = option(
        False,
        "--deface",
        help="Also write a raw case's sequences with the face taken off, in their own grids and in BraTS space.",
        group="output",
        kind="flag",
    )
    strict: bool = option(
        False,
        "--strict",
        help="Write nothing (exit code 6) where scans look wrong or the network doubts its answer, instead of warning.",
        group="running",
        kind="flag",
    )
    overwrite: bool = option(False, "--overwrite", help="Replace results that exist.", group="running", kind="flag")
    absolute_paths: bool = True
    """Whether the run record names scans by absolute paths, as it does but for the server, which tells nobody where it
    keeps them."""

    def __post_init__(self) -> None:
        from gliomask.results.layout import report_formats

        if isinstance(self.labels, str):
            object.__setattr__(self, "labels", convention(self.labels))
        object.__setattr__(self, "report", report_formats(self.report))
        object.__setattr__(self, "spaces", tuple(dict.fromkeys(map(parse_sequence, self.spaces))))


def words(value: str | Iterable[str]) -> tuple[str, ...]:
    """Returns what a list separated by commas names; a list stays as it is."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


Target = Sequence | Literal["brats", "mni152"]


def transform_files(values: Iterable[str]) -> list[tuple[Sequence, Target, Path]]:
    """Returns what `--transform` names: which sequence a file resamples into what.

    Raises:
        UsageError: one is written in another way, names what does not exist, or a sequence is named twice.
    """
    transforms: dict[Sequence, tuple[Sequence, Target, Path]] = {}
    for value in [values] if isinstance(values, str) else values:
        names, _, path = value.partition("=")
        moving, joined, target = names.strip().partition("-to-")
        if not (joined and path.strip()):
            raise UsageError(f"A transform is written as t1-to-t1ce=FILE or t1ce-to-brats=FILE; found '{value}'.")
        sequence = parse_sequence(moving)
        into: Target = target if target in ("brats", "mni152") else parse_sequence(target)  # type: ignore[assignment]
        if sequence == into:
            raise UsageError(f"A transform leads from one sequence to another or to a template; found '{value}'.")
        if sequence in transforms:
            raise UsageError(f"Two transforms of {sequence.value} were given. Give one.")
        transforms[sequence] = (sequence, into, Path(path.strip()))
    return list(transforms.values())


def from_names(options: type, values: dict[str, Any]) -> Any:
    """Returns an options object of values by name.

    Raises:
        UsageError: a name is unknown, an option is given by its earlier name and by its own, or a value is none that
            the option has.
    """
    values = _renamed(options, values)
    known = [one.name for one in fields(options)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"Unknown options: {', '.join(unknown)}. Known ones: {', '.join(known)}.")
    return options(**values)


def _renamed(options: type, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values by their names of today, and warns where an earlier name was used."""
    current = dict(values)
    for name, (_, spec) in described(options).items():
        if spec.formerly not in current:
            continue
        if name in current:
            raise UsageError(f"{spec.formerly} is the earlier name of {name}, which was given too. Leave it out.")
        message = f"{spec.formerly} is now called {name}; the earlier name goes away with the next minor version."
        warnings.warn(message, DeprecationWarning, stacklevel=4)
        current[name] = current.pop(spec.formerly)
    return current


def default_of(declared: Field[Any]) -> Any:
    """Returns the default of a field."""
    return (
        declared.default_factory()
        if declared.default is MISSING and declared.default_factory is not MISSING
        else declared.default
    )


def options_table(options: type) -> str:
    """Returns the options of a class as a table in Markdown, a line each, in their order."""
    lines = ["| in Python | command line | default | since | what it does |", "|---|---|---|---|---|"]
    for declared, spec in described(options).values():
        flags = ", ".join(f"`{flag}`" for flag in spec.flags)
        choices = f" One of {', '.join(f'`{choice}`' for choice in spec.choices)}." if spec.choices else ""
        default = spec.shown or _in_words(default_of(declared))
        cells = (f"`{declared.name}`", flags, default, spec.since, f"{spec.help}{choices}")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _in_words(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default in (None, ()) else f"`{default}`"
