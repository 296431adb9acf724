"""Prose in Markdown, wrapped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

WIDTH = 120
"""Letters in a line of prose; tables have longer ones."""

FENCE = re.compile(r"\s*(```|~~~)")
ITEM = re.compile(r"(\s*)([-*+]|\d+\.) +")
NO_PROSE = re.compile(r"\s*(\||#|<|:::|!!!|\[[^]]+\]: )|\s*$")


def blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Yields the lines of a page in blocks, each with whether it is prose: a paragraph, or one item of a list."""
    in_code, in_list, open_block = False, False, list[str]()
    for line in text.split("\n"):
        fence = FENCE.match(line) is not None
        item = ITEM.match(line)
        indented_code = line.startswith("    ") and not open_block and not in_list
        other = fence or in_code or indented_code or NO_PROSE.match(line) is not None
        if (other or item) and open_block:
            yield True, open_block
            open_block = []
        if other:
            yield False, [line]
        else:
            open_block.append(line)
        in_code ^= fence
        # A list goes on over empty lines, as long as what follows is indented.
        in_list = bool(item) or (in_list and (not line.strip() or line.startswith(" ")))
    if open_block:
        yield True, open_block


def too_wide(line: str) -> bool:
    """True for a line that could be broken and is not."""
    return len(line) > WIDTH and " " in line.strip()


def wrapped(text: str) -> str:
    """Returns a page with its wide prose wrapped."""
    lines: list[str] = []
    for prose, block in blocks(text):
        if not prose or not any(map(too_wide, block)):
            lines += block
            continue
        item = ITEM.match(block[0])
        first = item.group() if item else re.match(r"\s*", block[0]).group()  # type: ignore[union-attr]
        words = " ".join([block[0][len(first) :], *(line.strip() for line in block[1:])])
        lines += textwrap.wrap(
            words,
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def wide_prose(text: str) -> list[str]:
    """Returns the lines of prose that are too wide."""
    return [line for prose, block in blocks(text) if prose for line in block if too_wide(line)]
