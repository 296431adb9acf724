"""A mask of one slice as closed polygons along the edges of its pixels; filling them gives the mask back, pixel for
pixel.

Points are corners of pixels in (column, row), the centre of pixel (0, 0) being at (0, 0), so corners lie at halves. A
hole is joined to what surrounds it by a channel of no width, the keyhole that DICOM asks for (PS3.3, C.8.8.6.3): one
polygon runs round the outside, in through the channel, round the hole and out again. Pixels that touch by a corner
alone are parted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomask.arrays import Mask

Point = tuple[int, int]
"""Row and column of a pixel's upper left corner."""

TURNS: dict[Point, tuple[Point, ...]] = {
    # First the turn towards the region, so that pixels that touch by a corner are parted.
    (0, 1): ((1, 0), (0, 1), (-1, 0)),
    (1, 0): ((0, -1), (1, 0), (0, 1)),
    (0, -1): ((-1, 0), (0, -1), (1, 0)),
    (-1, 0): ((0, 1), (-1, 0), (0, -1)),
}


def polygons(mask: Mask) -> list[npt.NDArray[np.float64]]:
    """Returns the polygons of a mask, (rows, columns): each (N, 2) of (column, row), closed without repeating its first
    point.
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _doubled_area(loop) > 0]
    holes = sorted(
        (loop for loop in loops if _doubled_area(loop) < 0), key=lambda loop: min(column for _, column in loop)
    )
    for hole in holes:
        _join(hole, outer)
    return [_corners(loop) for loop in outer]


def _loops(mask: Mask) -> list[list[Point]]:
    """Walks along pixel edges with the region at the right hand: outer loops one way round, holes the other.

    Every corner passed is a point.
    """
    edges = _edges(mask)
    loops = []
    while edges:
        start, steps = next(iter(edges.items()))
        direction = steps[0]
        point, loop = start, []
        while True:
            loop.append(point)
            edges[point].remove(direction)
            if not edges[point]:
                del edges[point]
            point = (point[0] + direction[0], point[1] + direction[1])
            # Only a corner where two pixels touch leaves a choice, and there the first turn belongs to the same pixel.
            if point not in edges or (
                point == start and not any(turn in edges[point] for turn in TURNS[direction][:1])
            ):
                break
            direction = next(turn for turn in TURNS[direction] if turn in edges[point])
        loops.append(loop)
    return loops


def _edges(mask: Mask) -> dict[Point, list[Point]]:
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[Point, list[Point]] = {}
    sides = (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 0)),
        (padded[2:, 1:-1], (1, 1), (0, -1)),
        (padded[1:-1, :-2], (1, 0), (-1, 0)),
    )
    for neighbour, (down, right), direction in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((row + down, column + right), []).append(direction)
    return edges


def _doubled_area(loop: list[Point]) -> int:
    """Positive for outer loops, negative for holes, with rows growing downwards."""
    following = [*loop[1:], loop[0]]
    return sum(
        column * next_row - next_column * row
        for (row, column), (next_row, next_column) in zip(loop, following, strict=True)
    )


def _join(hole: list[Point], outer: list[list[Point]]) -> None:
    """Cuts a channel from the hole's leftmost corner to the left, to the first loop there; holes further left have been
    joined before.
    """
    first = min(range(len(hole)), key=lambda position: (hole[position][1], hole[position][0]))
    row, column = hole[first]
    for target in range(column - 1, -1, -1):
        for loop in outer:
            if (row, target) in loop:
                meeting = loop.index((row, target))
                bridge = [(row, step) for step in range(target + 1, column)]
                loop[meeting:meeting] = [
                    (row, target),
                    *bridge,
                    *hole[first:],
                    *hole[:first],
                    (row, column),
                    *reversed(bridge),
                ]
                return
    raise AssertionError("a hole lies inside a region")


def _corners(loop: list[Point]) -> npt.NDArray[np.float64]:
    """The points where the way turns, as (column, row)."""
    points = np.array(loop)
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners: npt.NDArray[np.float64] = points[(before != after).any(axis=1)][:, ::-1] - 0.5
    return corners
