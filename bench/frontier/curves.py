"""Curves of bits against loss: what a codec needs for a given loss, and whether that was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.measuring.report import Row

if TYPE_CHECKING:
    from bench.subjects.subject import Asked

Point = tuple[float, float]  # bits, loss


def bits_at(points: Sequence[Point], loss: float, floor: float) -> float | None:
    """Interpolate the bits at a loss on log loss; None outside of what was measured.

    Losses below `floor` count as it. Points that need more bits for more loss than another are
    dropped first, so that the curve falls.
    """
    front: list[Point] = []
    for bits, found in sorted(points):
        height = math.log(max(found, floor))
        if not front or height < front[-1][1]:
            front.append((bits, height))
    wanted = math.log(max(loss, floor))
    if not front or not front[-1][1] <= wanted <= front[0][1]:
        return None
    widths, heights = zip(*reversed(front), strict=True)
    return float(np.interp(wanted, heights, widths))


def curves_of(rows: Sequence[Row], loss: str) -> dict[str, list[Point]]:
    """Gather the points of each curve, in the order of the rows; rows with errors have none."""
    found: dict[str, list[Point]] = {}
    for row in rows:
        bits, lost = row.get("bits"), row.get(loss)
        if isinstance(bits, float) and isinstance(lost, int | float):
            found.setdefault(str(row["curve"]), []).append((bits, float(lost)))
    return found


def by_curve(rows: Sequence[Row]) -> list[Row]:
    """Order rows by their curves, as these first appear; later runs may have added to each."""
    curves = list(dict.fromkeys(row["curve"] for row in rows))
    return sorted(rows, key=lambda row: curves.index(row["curve"]))


def goals(rows: Sequence[Row], loss: str, asked: Sequence[Asked]) -> list[Point]:
    """Return what is asked as (bits, loss), a peer's row looked up where it is meant."""
    found = []
    for goal in asked:
        if not goal.peer:
            found.append((goal.bits, goal.loss))
            continue
        for row in rows:
            bits, lost = row.get("bits"), row.get(loss)
            if row["codec"] == goal.peer and isinstance(bits, float) and isinstance(lost, float):
                found.append((goal.share * bits, lost))
    return found


def comparison(
    rows: Sequence[Row], loss: str, asked: Sequence[Asked], floor: float
) -> tuple[dict[str, str], list[Row]]:
    """Return a table's columns and rows: bits of each curve at each loss asked for, then asked."""
    points = goals(rows, loss, asked)
    columns = {"curve": "bits at a loss of"} | {str(i): f"{p[1]:.3g}" for i, p in enumerate(points)}
    table: list[Mapping[str, object]] = []
    for curve, measured in curves_of(rows, loss).items():
        found = {str(i): bits_at(measured, p[1], floor) for i, p in enumerate(points)}
        if any(bits is not None for bits in found.values()):
            table.append({"curve": curve, **found})
    table.append({"curve": "**asked of Taut**", **{str(i): p[0] for i, p in enumerate(points)}})
    return columns, table
