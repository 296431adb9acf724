"""Few sizes of tiles for many boxes: an engine prepares itself anew for each size that it has not seen, which takes as
long as computing a small tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

Size = tuple[int, ...]
"""Slices, height and width of a batch."""

NEW_SIZE_PIXELS = 30_000
"""What a new size costs, in pixels that could have been computed meanwhile. Between 20,000 and 40,000 the default
network takes least processor time on a Zen 3, in float32 and in int8, 5 to 12 % less than without joining; at 80,000
nothing is left of that (docs/decisions/0018-sizes-of-tiles.md)."""


@dataclass(eq=False)
class Sizes:
    """The sizes that a network has been given for one case; those cost nothing more.

    Never shared between cases: what is said of one patient must not depend on who came before.
    """

    seen: set[Size] = field(default_factory=set)

    def of(self, wanted: Iterable[Size]) -> dict[Size, Size]:
        """Returns the size to use in place of each, at least as large along every axis, so that pixels and new sizes
        together cost little.

        Sizes are joined two by two while that saves something, the best first: not always the least cost that there is,
        and always the same. What is returned counts as seen from now on.

        Args:
            wanted: the size of each tile; a size may come many times.
        """
        counts = Counter(wanted)
        groups: dict[Size, list[Size]] = {size: [size] for size in sorted(counts)}
        while True:
            best, joined = 0, None
            for one, other in combinations(sorted({*groups, *self.seen}), 2):
                saving = self._cost(groups, counts, one) + self._cost(groups, counts, other)
                both = _cover(one, other)
                members = [*groups.get(one, ()), *groups.get(other, ())]
                if both not in (one, other):
                    saving += self._cost(groups, counts, both)
                    members += groups.get(both, ())
                if not members:
                    continue
                saving -= self._price(both, sum(counts[size] for size in members))
                if saving > best:
                    best, joined = saving, (one, other, both, members)
            if joined is None:
                break
            one, other, both, members = joined
            for size in (one, other):
                groups.pop(size, None)
            groups[both] = members
        self.seen.update(groups)
        return {size: used for used, members in groups.items() for size in members}

    def _cost(self, groups: dict[Size, list[Size]], counts: Counter[Size], size: Size) -> int:
        members = groups.get(size, ())
        return self._price(size, sum(counts[member] for member in members)) if members else 0

    def _price(self, size: Size, tiles: int) -> int:
        return tiles * prod(size) + (0 if size in self.seen else NEW_SIZE_PIXELS)


def _cover(one: Size, other: Size) -> Size:
    return tuple(map(max, one, other))
