"""The trade-off of size and score: what the dial gives, beside runtime grids and the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Final

from taut.reporting._canvas import (
    AFTER,
    AXIS,
    GRID,
    INK,
    MUTED,
    PEER,
    SMALL,
    TITLE,
    WIDTH,
    blank,
    place,
    shorten,
    write,
)
from taut.reporting.chart import Chart, Table
from taut.reporting.numbers import capital, digits, score, size
from taut.reporting.story import Story
from taut.sweep.pareto import Frontier, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS: Final = (("grid", PEER, "s"), ("dial", AFTER, "o"), ("original", MUTED, "D"))
_KINDS: Final = (
    ("dial", "after", "Taut's dial"),
    ("grid", "peer", "runtime grids"),
    ("original", "muted", "original"),
)
_NAMED: Final = 12  # points of a trade-off that are named in the chart


def trade_charts(story: Story) -> Iterator[Chart]:
    """The chart of the trade-off, if a story has one."""
    if story.frontier is not None and any(map(_drawn, story.frontier.points)):
        yield _trade(story.frontier, story.chosen)


def _drawn(point: Point) -> bool:
    """Whether a point has a place on the chart."""
    return point.size > 0 and isfinite(point.score.value)


def _trade(found: Frontier, chosen: str | None) -> Chart:
    metric = found.original.score
    taken = next((point for point in found.points if point.name == chosen), None)
    knee = f" The knee is {found.knee}." if found.knee else ""
    mark = f" The ring is this file, {taken.name}." if taken else ""
    low = "lower" if metric.better == "lower" else "higher"
    points = (*found.points, found.original)
    head = ("point", "kind", "size", "ratio", "bits", metric.name, "lost", "worth having")
    kinds = {point.kind for point in points}
    return Chart(
        key="frontier",
        section="Trade-off",
        title=f"{capital(metric.name)} by size",
        about=f"{capital(found.measure)}, {low} is better, against bytes on disk "
        f"(logarithmic). The line joins the points that no other beats.{knee}{mark}",
        draw=partial(_curve, found, taken),
        table=Table(head, tuple(_row(found, point) for point in points), left=2),
        legend=tuple((role, text) for kind, role, text in _KINDS if kind in kinds),
    )


def _row(found: Frontier, point: Point) -> tuple[str, ...]:
    return (
        point.name,
        point.kind,
        size(point.size),
        f"{digits(point.ratio)}×",
        digits(point.bits),
        _interval(point),
        digits(point.drop),
        "yes" if point.name in found.pareto else "",
    )


def _interval(point: Point) -> str:
    metric = point.score
    if metric.low is None or metric.high is None:
        return score(metric.value)
    return f"{score(metric.value)}\n{score(metric.low)} to {score(metric.high)}"


def _curve(found: Frontier, taken: Point | None) -> Figure:
    figure = blank(250)
    axes = place(figure, 44, 12, WIDTH - 44 - 14, 196)
    points = tuple(filter(_drawn, (*found.points, found.original)))
    _scale(axes, points)
    worth = [point for point in map(found.__getitem__, found.pareto) if _drawn(point)]
    axes.plot([p.size for p in worth], [p.score.value for p in worth], color=AFTER, linewidth=1.2)
    _mark(axes, points, taken)
    _label(axes, points)
    sizes = [point.size for point in points]
    middle = (min(sizes) * max(sizes)) ** 0.5
    write(axes, (middle, axes.get_ylim()[0]), "bytes on disk", AXIS, dy=-30)
    return figure


def _mark(axes: Axes, points: Sequence[Point], taken: Point | None) -> None:
    """A mark for each point, of its kind, and a ring around the one that was taken."""
    for kind, colour, marker in _MARKS:
        mine = [point for point in points if point.kind == kind]
        axes.plot([p.size for p in mine], [p.score.value for p in mine], marker, color=colour,
                  markersize=5.5, markeredgewidth=0, linestyle="none")  # fmt: skip
    if taken is not None and _drawn(taken):
        axes.plot([taken.size], [taken.score.value], "o", markersize=11, markerfacecolor="none",
                  markeredgecolor=INK, markeredgewidth=1.4)  # fmt: skip


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    """Limits that leave room around the points, and the ticks of both axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    sizes, values = [p.size for p in points], [p.score.value for p in points]
    axes.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    room = (max(values) - min(values)) or abs(values[0]) or 1.0
    axes.set_ylim(min(values) - 0.08 * room, max(values) + 0.12 * room)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: size(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.locator_params(axis="y", nbins=6)


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Name points where their names do not touch one already written, or another point."""
    spot = axes.transData.transform
    taken: list[tuple[float, float, float, float]] = []
    for point in points:
        x, y = spot((point.size, point.score.value))
        taken.append((x - 3, y - 3, x + 3, y + 3))
    written = 0
    for point in sorted(points, key=lambda p: (p.kind == "dial", p.size)):
        text = shorten(point.name, 80, SMALL)
        x, y = spot((point.size, point.score.value))
        wide = 0.6 * SMALL * len(text)
        for dx, dy in ((9, -3), (-9 - wide, -3), (-wide / 2, 9), (-wide / 2, -16)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + SMALL)
            inside = box[0] > 40 and box[2] < WIDTH - 2
            if inside and written < _NAMED and not any(_touch(box, other) for other in taken):
                write(axes, (point.size, point.score.value), text, TITLE, dx=dx, dy=dy)
                taken.append(box)
                written += 1
                break


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
