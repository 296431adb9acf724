"""What a command line that was not understood may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click

_SCANS = (
    "The scans need no option: gliomask segment CASE -o RESULTS. Four single files go by --flair, --t1, "
    "--t1ce and --t2."
)
_PROCESSOR = "gliomask works on the CPU and needs no GPU; --threads says on how many processors."
_MODEL = "A model is chosen by --network."

# What other programs of the field call their options: nnU-Net (-i, -device, -d), TotalSegmentator (-i, --device,
# --fast), HD-BET (-i, -device).
OTHER_PROGRAMS = {
    "-i": _SCANS,
    "--input": _SCANS,
    "-in": _SCANS,
    "-device": _PROCESSOR,
    "--device": _PROCESSOR,
    "--gpu": _PROCESSOR,
    "--cuda": _PROCESSOR,
    "-m": _MODEL,
    "-d": "A data set has no number here: give its folder.",
    "-f": "Folds are averaged in one network; a model is chosen by --network.",
    "--fast": "--single-plane is quicker, and somewhat worse.",
    "-fast": "--single-plane is quicker, and somewhat worse.",
    "--save_probabilities": "It is --probabilities here.",
    "--disable_tta": "Mirror images are averaged only with --flips.",
    "--force": "It is --overwrite here.",
}
"""Hints by what was typed."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Returns which known names a mistyped one resembles, the likeliest first: letters swapped, left out or added."""
    return get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)


def hint_for(error: click.NoSuchOption, arguments: Sequence[str]) -> str | None:
    """Returns what to type instead of an option that does not exist; None where that cannot be told.

    Args:
        error: as click raised it. Of `-device` it names the first letter alone.
        arguments: all that was typed.
    """
    typed = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    short = error.option_name if not error.option_name.startswith("--") else None
    word = (
        error.option_name
        if error.option_name in typed
        else next((w for w in typed if short and w[:2] == short and w[:2] != "--"), None)
    )
    if word is None:
        return None
    if word in OTHER_PROGRAMS:
        return OTHER_PROGRAMS[word]
    known = (
        []
        if error.ctx is None
        else [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
    )
    if short and f"-{word}" in known:
        return f"Long options begin with two dashes: -{word}."
    return None
