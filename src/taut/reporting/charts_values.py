"""Distributions of values before and after, with the levels that the quantiser left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.reporting._canvas import AFTER, AXIS, BEFORE, GRID, INK, WIDTH, blank, place, write
from taut.reporting.chart import Chart, Table
from taut.reporting.numbers import digits, percent
from taut.reporting.story import Histogram, Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS: Final = 81
_LEVELS: Final = 257  # more are no levels of a tensor but of its rows
_OUTSIDE: Final = 0.001  # fraction of the values that the widest ones may be, to be left out
_TOLD: Final = 0.005  # from which fraction on what lies outside is told
_MARGIN: Final = 8


def histogram(name: str, before: np.ndarray | None, after: np.ndarray, note: str = "") -> Histogram:
    """Count the values of a tensor; what is not finite is left out.

    The bins hold all values but the 0.1 % that lie farthest from 0. Levels are the distinct
    values of `after`, where there are at most 257.

    >>> found = histogram("w", None, np.array([-0.5, 0.0, 0.0, 0.5]))
    >>> found.levels, found.weights
    ((-0.5, 0.0, 0.5), (0.25, 0.5, 0.25))
    """
    new = _finite(after)
    old = None if before is None else _finite(before)
    reach = max(_reach(found) for found in (new, old) if found is not None)
    edges = np.linspace(-reach, reach, _BINS + 1)
    levels, counts = np.unique(new, return_counts=True)
    few = levels.size <= min(_LEVELS, max(3, new.size // 4))
    if not few and not note:
        note = "steps differ from row to row or column to column, so that no levels are drawn"
    beyond = float(np.mean(np.abs(new) > reach)) if new.size else 0.0
    return Histogram(
        name,
        tuple(edges.tolist()),
        () if old is None else _fractions(old, edges),
        _fractions(new, edges),
        tuple(levels.tolist()) if few else (),
        tuple((counts / max(1, new.size)).tolist()) if few else (),
        beyond,
        note,
    )


def value_charts(story: Story) -> Iterator[Chart]:
    """A chart for each histogram."""
    for number, found in enumerate(story.histograms):
        yield Chart(
            f"values-{number + 1}",
            "Distributions",
            found.name,
            _about(found),
            partial(_draw, found),
            _table(found),
            (("before", "before"), ("after", "after")) if found.before else (("after", "after"),),
        )


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values, np.float32).reshape(-1)
    return flat[np.isfinite(flat)]


def _reach(values: np.ndarray) -> float:
    """Half the width of the axis."""
    if not values.size:
        return 1.0
    widest = float(np.quantile(np.abs(values), 1 - _OUTSIDE))
    return 1.05 * (widest or float(np.abs(values).max())) or 1.0


def _fractions(values: np.ndarray, edges: np.ndarray) -> tuple[float, ...]:
    counts, _ = np.histogram(values, edges)
    return tuple((counts / max(1, values.size)).tolist())


def _about(found: Histogram) -> str:
    texts = []
    if found.levels:
        zero = sum(w for x, w in zip(found.levels, found.weights, strict=True) if x == 0)
        texts.append(f"{len(found.levels)} levels are left; {percent(zero)} of the values are 0.")
    if found.note:
        texts.append(f"{found.note[0].upper()}{found.note[1:]}.")
    if found.outside > _TOLD:
        texts.append(f"{percent(found.outside)} of the values lie outside the axis.")
    return " ".join(texts) or "Values of the tensor."


def _draw(found: Histogram) -> Figure:
    figure = blank(156)
    axes = place(figure, _MARGIN, 8, WIDTH - 2 * _MARGIN, 108)
    edges = np.array(found.edges)
    width = edges[1] - edges[0]
    axes.set_xlim(edges[0], edges[-1])
    before, after = np.array(found.before) / width, np.array(found.after) / width
    if before.size:
        axes.stairs(before, edges, fill=True, color=BEFORE, alpha=0.75, linewidth=0)
    most = before.max() if before.size else 0.0
    inside = [level for level in found.levels if abs(level) <= edges[-1]]
    if inside and len(inside) <= _BINS:
        most = max(most, _stems(axes, np.array(found.levels), np.array(found.weights)))
    else:
        axes.stairs(after, edges, color=AFTER, linewidth=1.2)
        most = max(most, after.max())
    axes.set_ylim(0, most * 1.06 or 1)
    axes.set_yticks([])
    axes.spines["bottom"].set(visible=True, color=GRID)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="x", pad=8)
    _ticks(axes, inside)
    write(axes, (0.5 * (edges[0] + edges[-1]), 0), "value of a weight", AXIS, dy=-33)
    return figure


def _stems(axes: Axes, levels: np.ndarray, weights: np.ndarray) -> float:
    """Levels as bars as high as the density that each stands for; gives the highest."""
    low, high = axes.get_xlim()
    if levels.size > 1:
        between = 0.5 * (levels[1:] + levels[:-1])
        first, last = 2 * levels[0] - between[0], 2 * levels[-1] - between[-1]
        cells = np.diff([first, *between, last])
    else:
        cells = np.array([(high - low) / 10])
    # Levels that stand close together (rows of their own steps) would rise without end.
    density = weights / np.maximum(cells, (high - low) / (2 * _BINS))
    inside = (levels >= low) & (levels <= high)
    thin = min(0.012 * (high - low), 0.45 * float(np.median(cells)))
    axes.bar(levels[inside], density[inside], thin, color=AFTER, linewidth=0)
    return float(density.max())


def _ticks(axes: Axes, levels: Sequence[float]) -> None:
    """A short line below the axis at every level."""
    if levels:
        axes.vlines(levels, -0.05, 0, color=INK, linewidth=0.7, clip_on=False,
                    transform=axes.get_xaxis_transform())  # fmt: skip


def _table(found: Histogram) -> Table:
    if found.levels and len(found.levels) <= _LEVELS:
        return Table(
            ("level", "of the values"),
            tuple(
                (digits(level, 4), percent(weight))
                for level, weight in zip(found.levels, found.weights, strict=True)
            ),
            left=0,
        )
    bounds = list(zip(found.edges, found.edges[1:], strict=False))
    head = ("from", "to", *(("before",) if found.before else ()), "after")
    columns = [found.before, found.after] if found.before else [found.after]
    return Table(
        head,
        tuple(
            (digits(low), digits(high), *(percent(column[bin_]) for column in columns))
            for bin_, (low, high) in enumerate(bounds)
            if any(column[bin_] for column in columns)
        ),
        left=0,
    )
