"""Charts of what the model is worth: confusion of classes, and the trade-off of size and score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from taut.reporting._canvas import (
    AFTER,
    BEFORE,
    GRID,
    INK,
    SMALL,
    WARN,
    WIDTH,
    Lettering,
    blank,
    place,
    shorten,
    width_of,
    write,
)
from taut.reporting._rows import Column, rows
from taut.reporting.chart import Chart, Table
from taut.reporting.numbers import capital, exact, printable
from taut.reporting.scale import Scale, scale_of
from taut.reporting.story import Story
from taut.scoring.results import Metric, Scores, Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS: Final = 20  # classes of a confusion matrix that can be drawn and read
_PAIRS: Final = 20  # and of more classes, the pairs that are confused most


def score_charts(story: Story) -> Iterator[Chart]:
    """The charts of scores that a story allows."""
    if story.evaluation is not None:
        model, original = story.evaluation.model, story.evaluation.original
        if model.scores is not None and model.scores.confusion:
            yield _confusion(model.scores, original)
        metric = model.scores.metrics[0] if model.scores and model.scores.metrics else None
        if model.scores is not None and metric is not None and len(metric.per_class) > 1:
            yield _classes(model.scores, original)


def _names(scores: Scores, number: int) -> list[str]:
    return [*scores.classes[:number], *map(str, range(len(scores.classes), number))]


def _confusion(scores: Scores, original: Subject | None) -> Chart:
    cells = scores.confusion
    names = _names(scores, len(cells))
    right = sum(row[place_] for place_, row in enumerate(cells))
    old = original.scores.confusion if original and original.scores else ()
    told = [
        (names[true], names[predicted], exact(count), _was(old, true, predicted))
        for count, true, predicted in _mistakes(cells)
    ]
    about = f"{exact(right)} of {exact(sum(map(sum, cells)))} samples are right."
    if told:
        about += f" Most often, {told[0][0]} is taken for {told[0][1]} ({told[0][2]} times)."
    few = len(cells) <= _CELLS
    axes = ": true in rows, predicted in columns" if few else ""
    return Chart(
        key="confusion",
        section="Score",
        title=f"Which classes are confused{axes}",
        about=about,
        draw=partial(_matrix, cells, names) if few else partial(_pairs, told[:_PAIRS]),
        table=Table(("true", "predicted", "samples", "before"), tuple(told[:500]), left=2),
    )


def _mistakes(cells: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """How often, which class is taken for which other one; the most frequent first."""
    pairs = [
        (count, true, predicted)
        for true, row in enumerate(cells)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))


def _was(old: Sequence[Sequence[int]], true: int, predicted: int) -> str:
    """How often the original took it so."""
    return exact(old[true][predicted]) if true < len(old) and predicted < len(old[true]) else "-"


def _pairs(told: Sequence[tuple[str, str, str, str]]) -> Figure:
    values = [float(row[2].replace(",", "")) for row in told]
    return rows(
        [f"{row[0]} → {row[1]}" for row in told],
        [Column("samples", values, [row[2] for row in told], WARN)],
    )


def _matrix(cells: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    number = len(cells)
    left, head = 84, 78
    edge = min(44.0, (WIDTH - left - 6) / number)
    figure = blank(head + edge * number + 6)
    axes = place(figure, left, head, edge * number, edge * number)
    axes.set(xlim=(0, number), ylim=(number, 0), xticks=[], yticks=[])
    for row, (counts, name) in enumerate(zip(cells, names, strict=True)):
        beside = Lettering(SMALL, ha="right", va="center")
        write(axes, (0, row + 0.5), shorten(name, left - 8, SMALL), beside, dx=-5)
        found = axes.annotate(
            printable(shorten(name, head - 10, SMALL)), (row + 0.5, 0), (0, 5), rotation=90,
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
    if width_of(str(count), SMALL) <= edge - 1:
        inside = Lettering(SMALL, ha="center", va="center")
        write(axes, (column + 0.5, row + 0.5), str(count), inside)


def _classes(scores: Scores, original: Subject | None) -> Chart:
    metric = scores.metrics[0]
    names = _names(scores, len(metric.per_class))
    old = _before(metric, original)
    scale = scale_of(metric, *old, *metric.per_class)
    shown = _lowest(metric.per_class)
    columns = [
        Column(
            *(title, [max(0.0, values[i]) for i in shown]),
            *([scale.value(values[i]) for i in shown], colour),
        )
        for title, values, colour in (("before", old, BEFORE), ("after", metric.per_class, AFTER))
        if values
    ]
    left = f" Drawn are the {_CELLS} lowest." if len(names) > _CELLS else ""
    return Chart(
        key="classes",
        section="Score",
        title=f"{capital(metric.name.replace('_', ' '))} by class",
        about=f"Of each of the {len(names)} classes.{left}",
        draw=partial(rows, [names[i] for i in shown], columns),
        table=_class_table(names, old, metric.per_class, scale),
    )


def _before(metric: Metric, original: Subject | None) -> Sequence[float]:
    """The original's values by class; none where its classes are others."""
    found = original.scores.metrics if original and original.scores else ()
    old = next((m.per_class for m in found if m.name == metric.name), ())
    return old if len(old) == len(metric.per_class) else ()


def _lowest(values: Sequence[float]) -> list[int]:
    """The classes to draw, in their own order."""
    order = sorted(range(len(values)), key=lambda place_: values[place_])
    return sorted(order[:_CELLS])


def _class_table(
    names: Sequence[str], old: Sequence[float], new: Sequence[float], scale: Scale
) -> Table:
    """All classes, with the original's values where there are any."""
    if not old:
        return Table(("class", "after"), tuple(zip(names, map(scale.value, new), strict=True)))
    cells = zip(names, map(scale.value, old), map(scale.value, new), strict=True)
    return Table(("class", "before", "after"), tuple(cells))
