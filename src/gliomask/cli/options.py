"""Options that `gliomask segment` and `gliomask-bids` share, each described once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Any], Any]

raw_mode: Decorator = click.option(
    "--raw",
    "raw_mode",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Register and strip raw scans first (extra raw): where they need it, always, or never.",
)
postprocess: Decorator = click.option("--postprocess", help="none, 1, 1+2, legacy or 3d.  [default: the one the model was chosen with]")
flips: Decorator = click.option("--flips", is_flag=True, help="Average over mirror images of each slice: somewhat better, four times as long.")
second_opinion: Decorator = click.option(
    "--second-opinion", metavar="MODEL", help="Model to be asked as well where the first suspects tumour, or none.  [default: the model's own]"
)
core_rule: Decorator = click.option(
    "--core-rule/--no-core-rule",
    default=True,
    show_default=True,
    help="In a tumour that hardly enhances, call core what the model's rule for such tumours says, where it has one.",
)
keep_uncertain_enhancement: Decorator = click.option(
    "--keep-uncertain-enhancement",
    is_flag=True,
    help="Leave enhancement in that the model's rule would call core, because no part of it is certain.",
)
single_plane: Decorator = click.option(
    "--single-plane", is_flag=True, help="Ask the axial view alone, also where the model learned from three planes: quicker, somewhat worse."
)
precision: Decorator = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "int8"]),
    default="auto",
    show_default=True,
    help="Numbers that the network computes in: int8 is quicker, fp32 the reference; auto is int8 where the model has it and the processor gains by it.",
)
strict: Decorator = click.option("--strict", is_flag=True, help="Refuse input that looks wrong (exit code 6) instead of warning.")
overwrite: Decorator = click.option("--overwrite", is_flag=True, help="Replace results that exist.")


class GivenPath(click.Path):
    """A path that is not empty: an empty one, as an unset variable of a script gives, would mean the working folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuses an empty path."""
        if not str(value).strip():
            self.fail("is empty. Give a path, or . for the working folder.", param, ctx)
        if "\0" in str(value):
            self.fail("holds a zero byte. Give another path.", param, ctx)
        return super().convert(value, param, ctx)


def threads(*names: str) -> Decorator:
    """The option for the number of threads, under one name or several."""
    return click.option(*names, "threads", type=click.IntRange(min=1), help="CPU threads.  [default: all that the process may use]")
