"""Rectangles whose areas are bytes: squarified treemaps (Bruls, Huizing, van Wijk 2000)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def squarify(sizes: Sequence[float], box: Box) -> list[tuple[int, Box]]:
    """Places for sizes above 0, the largest first, each with its index in `sizes`.

    >>> [(k, round(one.width * one.height, 6)) for k, one in squarify([1, 0, 3], Box(0, 0, 2, 2))]
    [(2, 3.0), (0, 1.0)]
    """
    order = sorted((k for k, size in enumerate(sizes) if size > 0), key=lambda k: -sizes[k])
    total = sum(sizes[k] for k in order)
    if not total:
        return []
    scale = box.width * box.height / total
    areas = [(k, sizes[k] * scale) for k in order]
    found: list[tuple[int, Box]] = []
    while areas:
        side = min(box.width, box.height)
        taken = _row(areas, side)
        thick = sum(area for _, area in areas[:taken]) / side
        found += _placed(areas[:taken], box, thick)
        if box.width >= box.height:
            box = Box(box.x + thick, box.y, box.width - thick, box.height)
        else:
            box = Box(box.x, box.y + thick, box.width, box.height - thick)
        areas = areas[taken:]
    return found


def _row(areas: Sequence[tuple[int, float]], side: float) -> int:
    """How many of the areas stand side by side, so that none gets thinner than it must."""
    total, worst = 0.0, float("inf")
    for number, (_, area) in enumerate(areas):
        after = total + area
        ratio = max(side * side * areas[0][1] / after**2, after**2 / (side * side * area))
        if ratio > worst:
            return number
        total, worst = after, ratio
    return len(areas)


def _placed(row: Sequence[tuple[int, float]], box: Box, thick: float) -> Iterator[tuple[int, Box]]:
    """A row of areas along the shorter side of a box."""
    along = 0.0
    for key, area in row:
        long = area / thick
        if box.width >= box.height:
            yield key, Box(box.x, box.y + along, thick, long)
        else:
            yield key, Box(box.x + along, box.y, long, thick)
        along += long
