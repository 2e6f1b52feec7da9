"""Charts of what the model is worth: confusion of classes, and the trade-off of size and score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from laconic.evaluate._canvas import (
    AFTER,
    GRID,
    INK,
    MUTED,
    PEER,
    SMALL,
    WARN,
    WIDTH,
    Column,
    blank,
    place,
    rows,
    shorten,
    write,
)
from laconic.evaluate.charts import Chart, Table
from laconic.evaluate.digits import digits, printable, score, size
from laconic.evaluate.pareto import Frontier, Point
from laconic.evaluate.record import Scores, Subject
from laconic.evaluate.story import Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS: Final = 20  # classes of a confusion matrix that can be drawn and read
_PAIRS: Final = 20  # and of more classes, the pairs that are confused most
_MARKS: Final = (("grid", PEER, "s"), ("dial", AFTER, "o"), ("original", MUTED, "D"))
_KINDS: Final = (
    ("dial", "after", "Laconic's dial"),
    ("grid", "peer", "runtime grids"),
    ("original", "muted", "original"),
)
_NAMED: Final = 12  # points of a trade-off that are named in the chart


def score_charts(story: Story) -> Iterator[Chart]:
    """The charts of scores that a story allows."""
    if story.evaluation is not None:
        model, against = story.evaluation.model, story.evaluation.against
        if model.scores is not None and model.scores.confusion:
            yield _confusion(model.scores, against)
        metric = model.scores.metrics[0] if model.scores and model.scores.metrics else None
        if model.scores is not None and metric is not None and len(metric.per_class) > 1:
            yield _classes(model.scores, against)
    if story.frontier is not None and story.frontier.points:
        yield _trade(story.frontier, story.chosen)


def _names(scores: Scores, number: int) -> list[str]:
    return [*scores.classes[:number], *map(str, range(len(scores.classes), number))]


def _confusion(scores: Scores, against: Subject | None) -> Chart:
    cells = scores.confusion
    names = _names(scores, len(cells))
    right = sum(row[place_] for place_, row in enumerate(cells))
    pairs = sorted(
        (
            (count, true, predicted)
            for true, row in enumerate(cells)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    old = against.scores.confusion if against and against.scores else ()
    told = [
        (names[true], names[predicted], str(count), _was(old, true, predicted))
        for count, true, predicted in pairs
    ]
    about = f"{right} of {sum(map(sum, cells))} samples are right."
    if pairs:
        about += f" Most often, {told[0][0]} is taken for {told[0][1]} ({told[0][2]} times)."
    few = len(cells) <= _CELLS
    draw = partial(_matrix, cells, names) if few else partial(_pairs, told[:_PAIRS])
    return Chart(
        "confusion",
        "Score",
        "Which classes are confused" + (": true in rows, predicted in columns" if few else ""),
        about,
        draw,
        Table(("true", "predicted", "samples", "before"), tuple(told[:500]), left=2),
    )


def _was(old: Sequence[Sequence[int]], true: int, predicted: int) -> str:
    """How often the original took it so."""
    return str(old[true][predicted]) if true < len(old) and predicted < len(old[true]) else "-"


def _pairs(told: Sequence[tuple[str, str, str, str]]) -> Figure:
    values = [float(row[2]) for row in told]
    return rows(
        [f"{row[0]} → {row[1]}" for row in told],
        [Column("samples", values, [row[2] for row in told], WARN)],
    )


def _matrix(cells: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    number = len(cells)
    left, head = 70, 62
    edge = (WIDTH - left - 6) / number
    figure = blank(head + edge * number + 6)
    axes = place(figure, left, head, edge * number, edge * number)
    axes.set(xlim=(0, number), ylim=(number, 0), xticks=[], yticks=[])
    for row, (counts, name) in enumerate(zip(cells, names, strict=True)):
        write(axes, 0, row + 0.5, shorten(name, left - 8, SMALL), dx=-5, size=SMALL, ha="right",
              va="center")  # fmt: skip
        found = axes.annotate(
            printable(shorten(name, head, SMALL)), (row + 0.5, 0), (0, 5), rotation=90,
            textcoords="offset points", ha="center", va="bottom", fontsize=SMALL, color=INK,
            annotation_clip=False,
        )  # fmt: skip
        found.set_parse_math(False)
        for column, count in enumerate(counts):
            _cell(axes, row, column, count, sum(counts), edge)
    return figure


def _cell(axes: Axes, row: int, column: int, count: int, total: int, edge: float) -> None:
    from matplotlib.patches import Rectangle

    corner = (column + 0.03, row + 0.03)
    axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=GRID, alpha=0.6, linewidth=0))
    if not count:
        return
    part = count / total
    # A few mistakes must show beside hundreds of right answers: the square root of the fraction.
    shade = 0.75 * part if row == column else min(0.9, 1.2 * part**0.5)
    colour = AFTER if row == column else WARN
    axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=colour, alpha=shade, linewidth=0))
    if edge > 20:
        write(axes, column + 0.5, row + 0.5, str(count), size=min(SMALL, 0.36 * edge),
              ha="center", va="center")  # fmt: skip


def _classes(scores: Scores, against: Subject | None) -> Chart:
    metric = scores.metrics[0]
    names = _names(scores, len(metric.per_class))
    found = against.scores.metrics if against and against.scores else ()
    old = next((m.per_class for m in found if m.name == metric.name), ())
    old = old if len(old) == len(metric.per_class) else ()
    shown = range(len(names))
    if len(names) > _CELLS:
        worst = sorted(shown, key=lambda place_: metric.per_class[place_])[:_CELLS]
        shown_names = sorted(worst)
    else:
        shown_names = list(shown)
    columns = [
        Column(title, [max(0.0, values[i]) for i in shown_names],
               [score(values[i]) for i in shown_names], colour)
        for title, values, colour in (("before", old, MUTED), ("after", metric.per_class, AFTER))
        if values
    ]  # fmt: skip
    return Chart(
        "classes",
        "Score",
        f"{_capital(metric.name)} by class",
        f"Of {len(names)} classes" + (", the worst twenty." if len(names) > _CELLS else "."),
        partial(rows, [names[i] for i in shown_names], columns),
        Table(
            ("class", *(("before",) if old else ()), "after"),
            tuple(
                (name, *((score(old[i]),) if old else ()), score(metric.per_class[i]))
                for i, name in enumerate(names)
            ),
        ),
    )


def _trade(found: Frontier, chosen: str | None) -> Chart:
    metric = found.original.score
    taken = next((point for point in found.points if point.name == chosen), None)
    knee = f" The knee is {found.knee}." if found.knee else ""
    mark = f" The ring is this file, {taken.name}." if taken else ""
    low = "lower" if metric.better == "lower" else "higher"
    points = (*found.points, found.original)
    return Chart(
        "frontier",
        "Trade-off",
        f"{_capital(metric.name)} by size",
        f"{_capital(found.measure)}, {low} is better, against bytes on disk "
        f"(logarithmic). The line joins the points that no other beats.{knee}{mark}",
        partial(_curve, found, taken),
        Table(
            ("point", "kind", "size", "ratio", "bits", metric.name, "lost", "worth having"),
            tuple(
                (
                    *(point.name, point.kind, size(point.size), f"{digits(point.ratio)}×"),
                    *(digits(point.bits), _interval(point), digits(point.drop)),
                    "yes" if point.name in found.pareto else "",
                )
                for point in points
            ),
            left=2,
        ),
        tuple((role, text) for kind, role, text in _KINDS if any(p.kind == kind for p in points)),
    )


def _interval(point: Point) -> str:
    metric = point.score
    if metric.low is None or metric.high is None:
        return score(metric.value)
    return f"{score(metric.value)}\n{score(metric.low)} to {score(metric.high)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _curve(found: Frontier, taken: Point | None) -> Figure:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = blank(250)
    axes = place(figure, 44, 12, WIDTH - 44 - 14, 196)
    points = (*found.points, found.original)
    axes.set_xscale("log")
    low, high = min(p.size for p in points), max(p.size for p in points)
    axes.set_xlim(low / 1.25, high * 1.25)
    values = [point.score.value for point in points]
    room = (max(values) - min(values)) or abs(values[0]) or 1.0
    axes.set_ylim(min(values) - 0.08 * room, max(values) + 0.12 * room)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: size(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.locator_params(axis="y", nbins=6)
    worth = [found[name] for name in found.pareto]
    axes.plot([p.size for p in worth], [p.score.value for p in worth], color=AFTER, linewidth=1.2)
    for kind, colour, marker in (
        ("grid", PEER, "s"),
        ("dial", AFTER, "o"),
        ("original", MUTED, "D"),
    ):
        mine = [point for point in points if point.kind == kind]
        axes.plot([p.size for p in mine], [p.score.value for p in mine], marker, color=colour,
                  markersize=5.5, markeredgewidth=0, linestyle="none")  # fmt: skip
    if taken is not None:
        axes.plot([taken.size], [taken.score.value], "o", markersize=11, markerfacecolor="none",
                  markeredgecolor=INK, markeredgewidth=1.4)  # fmt: skip
    _label(axes, points)
    write(axes, (low * high) ** 0.5, axes.get_ylim()[0], "bytes on disk", dy=-30, size=SMALL,
          ha="center", colour=MUTED)  # fmt: skip
    return figure


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
        for dx, dy in ((6, -3), (-6 - wide, -3), (-wide / 2, 7), (-wide / 2, -14)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + SMALL)
            inside = box[0] > 40 and box[2] < WIDTH - 2
            if inside and written < _NAMED and not any(_touch(box, other) for other in taken):
                write(axes, point.size, point.score.value, text, dx=dx, dy=dy, size=SMALL,
                      colour=MUTED)  # fmt: skip
                taken.append(box)
                written += 1
                break


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
