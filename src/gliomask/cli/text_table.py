"""A table for the screen: columns that stand under each other."""

from __future__ import annotations

from collections.abc import Sequence as Ordered


def text_table(
    rows: Ordered[Ordered[str]], header: Ordered[str] = (), numbers: Ordered[int] = (), indent: str = "  "
) -> str:
    """Returns rows as lines of text.

    Args:
        rows: cells, each row as long as the others.
        header: first row; empty for none.
        numbers: columns that are set to the right.
        indent: before each line.
    """
    lines = [*([header] if header else []), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    texts = []
    for line in lines:
        cells = [
            cell.rjust(width) if n in numbers else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(texts)
