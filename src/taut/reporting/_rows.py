"""Charts with a name a row: bars or dots, beside the names or below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10
from typing import TYPE_CHECKING, Final, Literal

from taut.reporting._canvas import (
    ABOVE,
    GRID,
    NAME,
    SMALL,
    TITLE,
    VALUE,
    WIDTH,
    abbreviate,
    blank,
    place,
    width_of,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP: Final = 20.0  # units for the columns' titles
_ROW: Final = 20.0
_STACKED: Final = 36.0  # of a row whose name stands above its marks
_LABELS: Final = 149  # units for the names of rows, at most
_FEW: Final = 26  # rows that may be so high
_BELOW: Final = 0.24


@dataclass(frozen=True)
class Column:
    """One column of bars or dots beside the names of rows; None where a row has no value.

    Bars end at `most`, or at the largest value if that is larger.
    """

    title: str
    values: Sequence[float | None]
    texts: Sequence[str]
    colour: str
    mark: Literal["bar", "dot"] = "bar"
    most: float = 0.0


@dataclass(frozen=True)
class _Marks:
    """Where the marks of a column stand: beside texts that take `room` of the width.

    `below` is how far under the middle of its row a mark is, and `thick` how high a bar is, in
    rows.
    """

    axes: Axes
    room: float
    below: float
    thick: float


def rows(names: Sequence[str], columns: Sequence[Column]) -> Figure:
    """Rows with their names on the left and a column of marks for each of `columns`.

    Every column has a scale of its own from 0 (bars), or a logarithmic one (dots). Few rows with
    long names have them above their marks, in full; of many rows names are abbreviated.
    """
    long = any(width_of(name) > _LABELS - 10 for name in names)
    stacked = long and len(names) <= _FEW
    labels = abbreviate(names, WIDTH - 4 if stacked else _LABELS - 10)
    height = _STACKED if stacked else _ROW
    margin = 2.0 if stacked else 10 + max(map(width_of, labels), default=0)
    figure = blank(_TOP + height * len(names) + 6)
    each = (WIDTH - margin) / len(columns)
    for number, column in enumerate(columns):
        axes = place(figure, margin + number * each, _TOP, each - 6, height * len(names))
        axes.set(ylim=(len(names) - 0.5, -0.5), yticks=[], xticks=[])
        room = 9 + max((width_of(text, SMALL) for text in column.texts), default=0)
        marks = _Marks(axes, room / (each - 6), _BELOW if stacked else 0.0, 0.62 * _ROW / height)
        {"bar": _bars, "dot": _dots}[column.mark](marks, column)
        write(axes, (axes.get_xlim()[0], -0.5), column.title, TITLE, dy=6)
        if number == 0:
            _name(axes, labels, stacked=stacked)
    return figure


def _name(axes: Axes, labels: Sequence[str], *, stacked: bool) -> None:
    """Write the names of the rows, beside the axes or above the marks."""
    start = axes.get_xlim()[0]
    for row, name in enumerate(labels):
        if stacked:
            write(axes, (start, row - _BELOW), name, ABOVE)
        else:
            write(axes, (start, row), name, NAME, dx=-6)


def _bars(marks: _Marks, column: Column) -> None:
    axes = marks.axes
    found = [value if value is not None and isfinite(value) else 0.0 for value in column.values]
    most = max([*found, column.most]) or 1.0
    axes.set_xlim(0, most / max(0.3, 1 - marks.room))
    places = [row + marks.below for row in range(len(found))]
    axes.barh(places, found, height=marks.thick, color=column.colour, linewidth=0)
    for row, value, text in zip(places, found, column.texts, strict=True):
        write(axes, (value, row), text, VALUE, dx=4)


def _dots(marks: _Marks, column: Column) -> None:
    axes = marks.axes
    found = [
        log10(value) if value is not None and 0 < value < inf else None for value in column.values
    ]
    real = [value for value in found if value is not None] or [0.0]
    low, high = min(real) - 0.15, max(real) + 0.1
    axes.set_xlim(low, low + (high - low) / max(0.3, 1 - marks.room))
    for number, (value, text) in enumerate(zip(found, column.texts, strict=True)):
        row = number + marks.below
        end = low if value is None else value
        axes.plot([low, end], [row, row], color=GRID, linewidth=1.5, solid_capstyle="butt")
        if value is not None:
            axes.plot([end], [row], "o", color=column.colour, markersize=5, markeredgewidth=0)
        write(axes, (end, row), text, VALUE, dx=6)
