"""Options as click takes them, made from their one description in `segmentation.options`; and groups of options in a
command's help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from gliomask.cli.kinds import GivenPath, WholeNumber
from gliomask.cli.say import echo
from gliomask.segmentation.options import Delivery, Options, Spec, default_of, described

Decorator = Callable[[Any], Any]

TITLES = {"input": "Input", "scans": "Raw scans", "network": "Network", "output": "Output", "running": "Running"}
"""Headings of the help, in their order."""


class GroupedOption(click.Option):
    """An option that stands under a heading.

    Args:
        group: one of `TITLES`.
    """

    def __init__(self, *args: Any, group: str = "running", **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


FORMER_FLAGS = {
    _flag(spec.formerly): spec.flags[0]
    for model in (Options, Delivery)
    for _, spec in described(model).values()
    if spec.formerly
}
"""Earlier names of options with the names of today. They work for one minor version more (CONTRIBUTING.md)."""


class SegmentingCommand(click.Command):
    """A command that has options of a segmentation, and takes their earlier names, with a note."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the command line, on which earlier names of options stand for those of today."""
        return super().parse_args(ctx, _with_names_of_today(args))


class GroupedCommand(SegmentingCommand):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes them, heading by heading."""
        for group, title in TITLES.items():
            records = [
                param.get_help_record(ctx)
                for param in self.get_params(ctx)
                if getattr(param, "group", "running") == group
            ]
            rows = [record for record in records if record is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _with_names_of_today(args: Iterable[str]) -> list[str]:
    current = list(args)
    end = current.index("--") if "--" in current else len(current)
    for n, argument in enumerate(current[:end]):
        flag, joined, value = argument.partition("=")
        if flag in FORMER_FLAGS:
            current[n] = f"{FORMER_FLAGS[flag]}{joined}{value}"
            note = f"Note: {flag} is now called {FORMER_FLAGS[flag]}; the earlier name goes away with the next version."
            echo(note, err=True)
    return current


def option(*names: str, group: str, **more: Any) -> Decorator:
    """A click option under a heading."""
    return click.option(*names, cls=GroupedOption, group=group, **more)


def options_of(
    model: type, *, leave_out: Iterable[str] = (), flags: Mapping[str, tuple[str, ...]] | None = None
) -> Decorator:
    """Returns a decorator that gives a command every option of a class, under the names of its fields.

    Args:
        model: `Options` or `Delivery`.
        leave_out: names of fields that the command does not have.
        flags: other spellings, by name of the field.
    """
    left_out = set(leave_out)

    def decorate(command: Any) -> Any:
        for name, (one, spec) in reversed(described(model).items()):
            if name not in left_out:
                command = _click_option(name, default_of(one), spec, (flags or {}).get(name, spec.flags))(command)
        return command

    return decorate


def chosen(model: type, values: Mapping[str, Any]) -> Any:
    """Returns an options object of what click parsed; what the command does not have keeps its default.

    Raises:
        UsageError: a value is none that the option has.
    """
    return model(**{name: values[name] for name in described(model) if values.get(name) is not None})


def _click_option(name: str, default: Any, spec: Spec, flags: tuple[str, ...]) -> Decorator:
    more: dict[str, Any] = {"help": spec.help, "group": spec.group}
    if spec.kind == "flag":
        paired = any("/" in flag for flag in flags)
        more |= {"default": default, "show_default": paired} | ({} if paired else {"is_flag": True})
    elif spec.several:
        more |= {"multiple": True, "metavar": spec.metavar}
    else:
        more |= {"type": _type(spec), "metavar": spec.metavar, "default": _plain(default, spec)}
        if spec.shown is not None:
            more["help"] += f"  [default: {spec.shown}]"
        else:
            more["show_default"] = bool(more["default"])
    return click.option(*flags, name, cls=GroupedOption, **more)


def _plain(default: Any, spec: Spec) -> Any:
    """The default as it would be typed."""
    if spec.shown is not None and not isinstance(default, str):
        return None if default is None else spec.shown
    return (",".join(default) or None) if isinstance(default, tuple) else default


def _type(spec: Spec) -> Any:
    if spec.choices:
        return click.Choice(spec.choices)
    if spec.kind == "number":
        return int if spec.least is None else WholeNumber(min=spec.least)
    return GivenPath() if spec.kind == "path" else str


overwrite: Decorator = click.option("--overwrite", is_flag=True, help="Replace results that exist.")


def threads(*names: str) -> Decorator:
    """The option for the number of threads, under one name or several."""
    return click.option(
        *names, "threads", type=WholeNumber(min=1), help="CPU threads.  [default: all that the process may use]"
    )
