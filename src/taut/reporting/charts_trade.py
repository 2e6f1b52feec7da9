"""The trade-off of size and score: what the dial gives, beside runtime grids and the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Final

from taut.planning.max_drop import parse_drop
from taut.reporting._canvas import (
    AFTER,
    AXIS,
    GRID,
    INK,
    MARKED,
    MUTED,
    PEER,
    SMALL,
    TITLE,
    WARN,
    WIDTH,
    blank,
    place,
    shorten,
    width_of,
    write,
)
from taut.reporting.chart import Chart, Table
from taut.reporting.choice import choice_of
from taut.reporting.numbers import capital, digits, drop, size
from taut.reporting.scale import Scale, named, scale_of
from taut.reporting.story import Story
from taut.reporting.tables import interval
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
_LEFT: Final = 52  # units that the scores at the axis take
_NAMED: Final = 12  # points of a trade-off that are named in the chart


def trade_charts(story: Story) -> Iterator[Chart]:
    """The chart of the trade-off, if a story has one."""
    if story.frontier is not None and any(map(_drawn, story.frontier.points)):
        yield _trade(story.frontier, story)


def _drawn(point: Point) -> bool:
    """Whether a point has a place on the chart."""
    return point.size > 0 and isfinite(point.score.value)


def _trade(found: Frontier, story: Story) -> Chart:
    metric = found.original.score
    choice = choice_of(story)
    marks = _Pointed(
        taken=choice.point if choice else None,
        knee=found[found.knee] if found.knee else None,
        least=_least(found, story.max_drop),
    )
    low = "lower" if metric.better == "lower" else "higher"
    points = (*found.points, found.original)
    kinds = {point.kind for point in points}
    return Chart(
        key="frontier",
        section="Trade-off",
        title=f"{capital(metric.name)} by size",
        about=f"{capital(found.measure)}, {low} is better, against bytes on disk "
        f"(logarithmic). The line joins the points that no other beats.{_told(marks, story)}",
        draw=partial(_curve, found, marks),
        table=_table(found, points, marks),
        legend=tuple((role, text) for kind, role, text in _KINDS if kind in kinds),
        opened=True,
    )


@dataclass(frozen=True)
class _Pointed:
    """What a chart points out: the point taken, the knee, and the lowest score allowed."""

    taken: Point | None
    knee: Point | None
    least: float | None

    def words(self, point: Point) -> tuple[str, ...]:
        """What a point is."""
        named = (("chosen", self.taken), ("knee", self.knee))
        return tuple(word for word, one in named if one is not None and one.name == point.name)


def _least(found: Frontier, max_drop: str | None) -> float | None:
    """The worst score that may be taken, where something was allowed to be lost."""
    if max_drop is None:
        return None
    original = found.original.score
    lost = parse_drop(max_drop).most(original.value)
    return original.value - lost if original.better == "higher" else original.value + lost


def _told(marks: _Pointed, story: Story) -> str:
    """The marks in words."""
    texts = []
    if marks.taken is not None:
        texts.append(f" The ring is {marks.taken.name}, which is chosen.")
    if marks.knee is not None:
        texts.append(f" The cross is the knee, {marks.knee.name}.")
    if marks.least is not None and story.max_drop is not None:
        texts.append(f" The broken line is as far as the score may fall: {drop(story.max_drop)}.")
    return "".join(texts)


def _table(found: Frontier, points: Sequence[Point], marks: _Pointed) -> Table:
    metric = found.original.score
    head = ("point", "kind", "size", "ratio", "bits", named(metric), "change")
    return Table(
        head,
        tuple(_row(found, point, marks) for point in points),
        left=2,
        caption="Every point that was made, and the original",
    )


def _row(found: Frontier, point: Point, marks: _Pointed) -> tuple[str, ...]:
    original = found.original.score
    scale = scale_of(point.score, original.value)
    change = "-"
    if point.kind != "original":
        change = scale.change(point.score.value - original.value, original.value)
    words = [*marks.words(point), *(["worth having"] if point.name in found.pareto else [])]
    return (
        *(f"{point.name}\n{', '.join(words)}" if words else point.name, point.kind),
        *(size(point.size), f"{digits(point.ratio)}×", digits(point.bits)),
        *(interval(point.score, scale), change),
    )


def _curve(found: Frontier, marks: _Pointed) -> Figure:
    figure = blank(290)
    axes = place(figure, 56, 12, WIDTH - 56 - 10, 226)
    points = tuple(filter(_drawn, (*found.points, found.original)))
    scale = scale_of(found.original.score, *(point.score.value for point in points))
    _scale(axes, points, scale, marks.least)
    worth = [point for point in map(found.__getitem__, found.pareto) if _drawn(point)]
    axes.plot([p.size for p in worth], [p.score.value for p in worth], color=AFTER, linewidth=1.2)
    if marks.least is not None:
        axes.axhline(marks.least, color=WARN, linewidth=1.2, linestyle=(0, (4, 3)))
    _mark(axes, points, marks)
    _label(axes, points, marks)
    sizes = [point.size for point in points]
    middle = (min(sizes) * max(sizes)) ** 0.5
    write(axes, (middle, axes.get_ylim()[0]), "bytes on disk", AXIS, dy=-36)
    return figure


def _mark(axes: Axes, points: Sequence[Point], marks: _Pointed) -> None:
    """A mark for each point, of its kind; a ring around the one taken, a cross on the knee."""
    for kind, colour, marker in _MARKS:
        mine = [point for point in points if point.kind == kind]
        axes.plot([p.size for p in mine], [p.score.value for p in mine], marker, color=colour,
                  markersize=6, markeredgewidth=0, linestyle="none")  # fmt: skip
    if marks.knee is not None and _drawn(marks.knee):
        axes.plot([marks.knee.size], [marks.knee.score.value], "+", markersize=19, color=INK,
                  markeredgewidth=1.2)  # fmt: skip
    taken = marks.taken
    if taken is not None and _drawn(taken):
        axes.plot([taken.size], [taken.score.value], "o", markersize=12, markerfacecolor="none",
                  markeredgecolor=INK, markeredgewidth=1.6)  # fmt: skip


def _scale(axes: Axes, points: Sequence[Point], scale: Scale, least: float | None) -> None:
    """Limits that leave room around the points, and the ticks of both axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    sizes, values = [p.size for p in points], [p.score.value for p in points]
    axes.set_xlim(min(sizes) / 1.25, max(sizes) * 1.25)
    values += [] if least is None else [least]
    room = (max(values) - min(values)) or abs(values[0]) or 1.0
    axes.set_ylim(min(values) - 0.08 * room, max(values) + 0.12 * room)
    axes.grid(True, color=GRID, linewidth=0.8)
    wide = max(sizes) > 30 * min(sizes)
    axes.xaxis.set_major_locator(LogLocator(10, (1,) if wide else (1, 2, 5), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _round(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.locator_params(axis="y", nbins=6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y, scale)))


def _round(nbytes: float) -> str:
    """The size at a tick, which is 1, 2 or 5 and zeros.

    >>> _round(50_000.0), _round(1e6)
    ('50 kB', '1 MB')
    """
    number, _, unit = size(nbytes).partition(" ")
    return f"{float(number):g} {unit}"


def _tick(value: float, scale: Scale) -> str:
    """A score at a tick, with no more zeros than it needs."""
    return f"{scale.factor * value:.6g}{scale.unit}".replace("-", "−")


_Box = tuple[float, float, float, float]


def _label(axes: Axes, points: Sequence[Point], marks: _Pointed) -> None:
    """Name points where their names do not touch one already written, or another point."""
    spot = axes.transData.transform
    taken: list[_Box] = []
    for point in points:
        x, y = spot((point.size, point.score.value))
        taken.append((x - 4, y - 4, x + 4, y + 4))
    # What is marked is named first, then grids, then the dial from the smallest on.
    ordered = sorted(points, key=lambda p: (not marks.words(p), p.kind == "dial", p.size))
    for point in ordered[:_NAMED]:
        said = marks.words(point)
        text = shorten(f"{point.name}: {', '.join(said)}" if said else point.name, 150)
        x, y = spot((point.size, point.score.value))
        found = _free((x, y), text, taken, far=bool(said))
        if found is not None:
            (dx, dy), box = found
            look = MARKED if said else TITLE
            write(axes, (point.size, point.score.value), text, look, dx=dx, dy=dy)
            taken.append(box)


def _free(
    at: tuple[float, float], text: str, taken: Sequence[_Box], *, far: bool
) -> tuple[tuple[float, float], _Box] | None:
    """A place beside a point that a text has for itself, and the box that it takes there."""
    x, y = at
    wide = width_of(text, SMALL)
    for dx, dy in _spots(wide, far=far):
        box = (x + dx, y + dy - 2, x + dx + wide, y + dy + SMALL)
        inside = box[0] > _LEFT and box[2] < WIDTH - 2
        if inside and not any(_touch(box, other) for other in taken):
            return (dx, dy), box
    return None


def _spots(wide: float, *, far: bool) -> list[tuple[float, float]]:
    """Where a name may stand beside its point, in units; a marked one farther away too."""
    beside = [(11.0, -4.0), (-11 - wide, -4.0), (-wide / 2, 11.0), (-wide / 2, -20.0)]
    corners = [(-wide, -20.0), (-wide, 11.0), (8.0, 14.0), (8.0, -22.0)]
    away = [(dx, dy) for dy in (-36.0, 28.0, -52.0, 44.0) for dx in (-wide / 2, 4.0, -wide)]
    return [*beside, *corners, *(away if far else [])]


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
