"""Where a result comes from, as its run record tells it: what a report repeats, and no more.

A run record is a file that anyone may have changed, so everything in it is taken for text, and what is not there is
said to be missing. Of paths only the file's name is kept: folders carry names of people and places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from gliomask.in_words import counted, millilitres
from gliomask.judgement import DOUBTS
from gliomask.labels import Region

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class InputFile:
    """A file that went into a result.

    Args:
        role: the sequence it holds, or what else it is.
        name: without folders.
        sha256: of its bytes.
    """

    role: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Corrected:
    """A label map that a person corrected by hand.

    Args:
        who: as the person wrote it.
        when: in UTC.
        changed_ml: how much has another label than the network gave, ml.
    """

    who: str
    when: datetime
    changed_ml: float

    def in_words(self) -> tuple[str, ...]:
        """Returns what a reader of numbers must know of it."""
        return (
            f"Corrected by hand by {self.who}, {self.when:%Y-%m-%d %H:%M} UTC: {millilitres(self.changed_ml)} have "
            "another label than the network gave.",
            "All numbers and pictures are of the corrected label map. No Dice is expected of it: estimates are of "
            "networks.",
        )


@dataclass(frozen=True)
class Provenance:
    """How a label map was made. Text is as recorded, or `NOT_RECORDED`.

    Args:
        finished: when; None where it is not recorded or no time.
        model: its name.
        model_sha256: of its `model.json`, which holds the hashes of its other files.
        ensemble_member: the model that was asked as well, with its hash; empty where none was.
        postprocess: name of the chain.
        engine: what ran the network.
        inputs: the scans, and the label map itself where its hash is known.
        versions: of gliomask, Python and the packages that the run had loaded, by name.
        flags: the quality flags' messages, first those that question the result as a whole; None where no record tells
            whether there were any.
        doubted: whether one of them does.
        expected_dice: Dice to be expected and its 80 % interval, by region; empty where the model is not calibrated on
            such patients.
        estimates: estimates of the result's quality or confidence, by name, in words.
        without: sequences that the run did without.
        exceptions: in what the case was not segmented as most are, a sentence each.
        corrected: who corrected the label map by hand; None where nobody is known to have.
    """

    finished: datetime | None = None
    model: str = NOT_RECORDED
    model_sha256: str = NOT_RECORDED
    ensemble_member: str = ""
    postprocess: str = NOT_RECORDED
    engine: str = NOT_RECORDED
    inputs: tuple[InputFile, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] | None = None
    doubted: bool = False
    expected_dice: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    estimates: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    corrected: Corrected | None = None

    def after(self, correction: Corrected) -> Provenance:
        """Returns the provenance of the corrected label map: no expectation of the network's holds for it."""
        return replace(self, corrected=correction, expected_dice={}, estimates=())


def provenance(record: Mapping[str, Any], label_map: InputFile | None = None) -> Provenance:
    """Reads a run record's fields.

    Args:
        record: as `gliomask segment` wrote it; empty where there is none.
        label_map: the label map's own name and hash.
    """
    model, second, options = (_mapping(record, name) for name in ("model", "second_opinion", "options"))
    environment = _mapping(record, "environment")
    versions = {name: environment[name] for name in ("gliomask", "python") if name in environment} | dict(
        _mapping(environment, "packages")
    )
    flags = record.get("quality_flags")
    return Provenance(
        finished=_time(record.get("finished")),
        model=_text(model, "name"),
        model_sha256=_text(model, "sha256"),
        ensemble_member=f"{_text(second, 'name')}, SHA-256 {_text(second, 'sha256')}"
        if second.get("asked") is True
        else "",
        postprocess=_text(options, "postprocess"),
        engine=_text(options, "engine"),
        inputs=(*_inputs(record), *([label_map] if label_map else [])),
        versions=tuple((str(name), str(value)) for name, value in versions.items()),
        flags=tuple(_message(flag) for flag in sorted(flags, key=_gravity)) if isinstance(flags, list) else None,
        doubted=isinstance(flags, list) and any(_gravity(flag) < len(DOUBTS) for flag in flags),
        expected_dice=_expected(record),
        estimates=_estimates(record),
        without=tuple(map(str, without)) if isinstance(without := record.get("without"), list) else (),
        exceptions=exceptions_in_words(record),
    )


def exceptions_in_words(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns in what a case was not segmented as most are: what was missing, at what price, and how the core of a
    tumour that hardly enhances was found.

    Args:
        record: a run record; of it `without`, `cost_of_missing`, `core_rule`, `asked_over`, `removed_enhancement` and
            `removed` are read.
    """
    lines = []
    without, cost, rule = record.get("without"), _mapping(record, "cost_of_missing"), _mapping(record, "core_rule")
    if isinstance(without, list) and without:
        lines.append(
            f"Segmented without {', '.join(map(str, without))}. "
            f"{_cost(cost) if cost else 'What that costs was not measured.'}"
        )
    if rule:
        share, probability = (
            _percent(rule.get(name, NOT_RECORDED)) for name in ("enhancing_share", "core_probability")
        )
        lines.append(
            f"Less than {share} of the tumour enhances, so all of it to which the network gives core more than "
            f"{probability} is called core."
        )
    if record.get("asked_over") == "again":
        lines.append(
            "The network was unsure of what it found near the first suspicion, so it was asked again over the "
            "whole brain."
        )
    removed = _mapping(record, "removed_enhancement")
    if removed.get("components"):
        volume = removed.get("volume_ml")
        amount = millilitres(volume) if isinstance(volume, float) else str(volume)
        unsure = (
            counted(removed["components"], "component")
            if isinstance(removed["components"], int)
            else str(removed["components"])
        )
        lines.append(
            f"Unsure enhancement removed: {unsure}, {amount} in all, called core instead "
            "(--keep-uncertain-enhancement)."
        )
    parts = record.get("removed")
    if isinstance(parts, list | tuple) and parts:
        volumes = [part["volume_ml"] for part in parts]
        largest = ", ".join(f"{mm:.0f}" for mm in parts[0]["centre_ras_mm"])
        lines.append(
            f"Post-processing removed {counted(len(parts), 'separate part')} of {millilitres(sum(volumes))} in all; "
            f"the largest has {millilitres(volumes[0])} "
            f"and lies at {largest} mm (RAS coordinates of the label map). --postprocess none leaves all in."
        )
    return tuple(lines)


def _percent(value: Any) -> str:
    return f"{100 * value:.3g} %" if isinstance(value, float) else str(value)


def _cost(cost: Mapping[str, Any]) -> str:
    without, with_all = (_mapping(cost, name) for name in ("median_dice", "median_dice_of_all"))
    regions = ", ".join(
        f"{region} {_two_places(dice)} ({_two_places(with_all.get(region, NOT_RECORDED))})"
        for region, dice in without.items()
    )
    return (
        f"Median Dice of {_text(cost, 'cases')} cross-validated patients segmented so, in brackets with all "
        f"four: {regions}."
    )


def _two_places(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _estimates(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the network expects of itself, where it is not calibrated; and what a calibrated record holds in place of
    numbers, as text.
    """
    predicted, expected = _mapping(record, "predicted_dice"), _mapping(record, "expected_dice")
    if predicted:
        recorded = _expected(record)
        return estimates_in_words(
            {f"Expected Dice, {region}": value for region, value in predicted.items() if region not in recorded}
        )
    return estimates_in_words(
        {f"Dice the network expects of itself, not calibrated, {region}": value for region, value in expected.items()}
    )


def _expected(record: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """The Dice to be expected with its interval, of the regions for which the record holds such numbers."""
    expected = {}
    for region, value in _mapping(record, "predicted_dice").items():
        given = [value.get(name) for name in ("dice", "low", "high")] if isinstance(value, Mapping) else []
        numbers = [float(number) for number in given if isinstance(number, int | float) and 0 <= number <= 1]
        if region in Region.__members__ and len(numbers) == 3:
            expected[str(region)] = (numbers[0], numbers[1], numbers[2])
    return expected


def estimates_in_words(estimates: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns estimates of quality or confidence as pairs of words: a number, a text, or a mapping of names to either,
    such as a value and its range.
    """
    return tuple((str(name), _in_words(value)) for name, value in estimates.items())


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def file_name(path: str) -> str:
    """The last part of a path written on any system."""
    return PurePosixPath(PureWindowsPath(path).as_posix()).name


def _inputs(record: Mapping[str, Any]) -> list[InputFile]:
    hashes, sequences = _mapping(record, "inputs"), _mapping(record, "sequences")
    roles: dict[str, list[str]] = {str(path): [] for path in hashes}
    for sequence, path in sequences.items():
        roles.setdefault(str(path), []).append(str(sequence))
    return [
        InputFile(", ".join(names) or "input", file_name(path), str(hashes.get(path, NOT_RECORDED)))
        for path, names in roles.items()
    ]


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(record: Mapping[str, Any], name: str) -> str:
    return str(record[name]) if record.get(name) is not None else NOT_RECORDED


def _gravity(flag: Any) -> int:
    name = flag.get("name") if isinstance(flag, Mapping) else None
    return DOUBTS.index(name) if name in DOUBTS else len(DOUBTS)


def _message(flag: Any) -> str:
    return str(flag.get("message", flag)) if isinstance(flag, Mapping) else str(flag)


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
