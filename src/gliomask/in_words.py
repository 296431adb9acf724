"""Numbers as people read them: with their unit, and with as many decimals as they are worth.

Screens, pictures, reports and pages take their numbers from here, so that one result is written one way. Files for
programs (TSV, JSON) keep more decimals; see `report.volumes`.
"""

from __future__ import annotations

INTERVAL = "80 % interval"
"""What stands between `low` and `high` of `quality.Estimate`."""


def volume_number(volume_ml: float) -> str:
    """Returns a volume in ml without its unit: one decimal, two below a millilitre.

    Experts who outline the same tumours agree with a Dice of .74 to .85 (Menze et al., IEEE TMI 2015, abstract), so
    further decimals say nothing.
    """
    if volume_ml == 0:
        return "0"
    if volume_ml < 0.995:
        return f"{volume_ml:.2f}" if volume_ml >= 0.005 else "<0.01"
    return f"{volume_ml:.1f}"


def millilitres(volume_ml: float) -> str:
    """Returns a volume with its unit, as in `60.3 ml`; see `volume_number`."""
    return f"{volume_number(volume_ml)} ml"


def change_ml(difference_ml: float) -> str:
    """Returns a change of volume with its sign and unit, as in `+2.4 ml`, as precise as a volume of that size."""
    sign = "+" if difference_ml > 0 else "\N{MINUS SIGN}" if difference_ml < 0 else ""
    return f"{sign}{millilitres(abs(difference_ml))}"


def dice(value: float) -> str:
    """Returns a Dice score, measured or expected: two decimals, also where they are zeros."""
    return f"{value:.2f}"


def dice_with_interval(value: float, low: float, high: float) -> str:
    """Returns an expected Dice with its interval, as in `0.94 (80 % interval 0.88 to 0.98)`."""
    return f"{dice(value)} ({INTERVAL} {dice(low)} to {dice(high)})"


def duration(seconds: float) -> str:
    """Returns a time that something took, as in `7.2 s`, `2 min 6 s`, `1 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def counted(count: int, singular: str, plural: str = "") -> str:
    """Returns a number with its noun, as in `1 case` and `2 cases`; `many` is the plural where it is irregular."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
