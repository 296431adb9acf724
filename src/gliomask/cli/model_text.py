"""What models say of themselves, as `gliomask models` shows it."""

from __future__ import annotations

from collections.abc import Mapping

from gliomask.models.available import ModelSummary

NOT_MEASURED = "not measured"


def table(rows: list[ModelSummary]) -> str:
    """Returns models as a table, a line each; what was not measured is named so."""
    header = (
        "model",
        "parameters",
        "median Dice WT / TC / ET",
        "of cases",
        "seconds a case",
        "may miss",
        "licence",
        "hash",
    )
    cells = [header, *(_cells(row) for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cells(row: ModelSummary) -> tuple[str, ...]:
    medians = [row.dice.get(region, {}).get("median") for region in ("WT", "TC", "ET")]
    dice = (
        " / ".join("?" if median is None else f"{median:.3f}" for median in medians) if any(medians) else NOT_MEASURED
    )
    seconds = NOT_MEASURED if row.seconds is None else f"{row.seconds:.1f}"
    name = row.name + (" (default)" if row.default else "")
    cases = "?" if row.scored_cases is None else str(row.scored_cases)
    return (
        name,
        f"{row.parameters:,}",
        dice,
        cases,
        seconds,
        ", ".join(row.may_miss) or "none",
        row.licence,
        row.sha256[:12],
    )


def _dice_of(dice: Mapping[str, float]) -> str:
    return ", ".join(f"{region} {value:.3f}" for region, value in dice.items())


def page(row: ModelSummary) -> str:
    """Returns all of a summary as a page of text."""
    lines = [
        ("model", f"{row.name}{' (default)' if row.default else ''}: {row.title}"),
        (
            "network",
            f"{row.network}, {row.parameters:,} parameters"
            + ("" if row.megabytes is None else f", {row.megabytes} MB"),
        ),
        ("input", f"{row.kind}; {', '.join(row.needs)}"),
        ("may miss", ", ".join(row.may_miss) + " (FLAIR or T1ce must stay)" if row.may_miss else "none of them"),
        *(("lacking", f"{what}: median Dice {_dice_of(dice)}, alone") for what, dice in row.lacking.items()),
        ("trained on", row.trained_on),
        *((f"Dice {region}", _interval(figures)) for region, figures in row.dice.items()),
        *([] if row.dice else [("Dice", NOT_MEASURED)]),
        *([("scores", row.protocol)] if row.protocol else []),
        ("seconds", NOT_MEASURED if row.seconds is None else f"{row.seconds:g} a case: {row.timing}"),
        *([("asks also", f"{row.ensemble_member}, where it suspects tumour")] if row.ensemble_member else []),
        *((f"estimate {region}", text) for region, text in row.quality.items()),
        *([] if row.quality else [("estimates", "none: how sure it is was not calibrated")]),
        ("licence", row.licence),
        ("card", row.card or "none; docs/models.md says how a model of your own is described"),
        ("hash", row.sha256),
        ("folder", row.folder),
    ]
    return "\n".join(f"{label:<11} {text}" for label, text in lines)


def _interval(figures: Mapping[str, float]) -> str:
    parts = []
    for statistic in ("median", "mean"):
        if statistic in figures:
            low, high = figures.get(f"{statistic}_low"), figures.get(f"{statistic}_high")
            bounds = "no interval" if low is None or high is None else f"95 %: {low:.3f} to {high:.3f}"
            parts.append(f"{statistic} {figures[statistic]:.3f} ({bounds})")
    return ", ".join(parts)
