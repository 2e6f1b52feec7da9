"""The charts of a story, each with what it says in words and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.evaluate._canvas import need_report
from taut.evaluate.story import Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows under a head; columns from `left` on hold numbers and are aligned right.

    What follows a line break in a cell is small print.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True)
class Chart:
    """One chart: `key` names its file, `section` where it stands, `about` what it shows.

    `draw` makes the figure when it is needed.
    """

    key: str
    section: str
    title: str
    about: str
    draw: Callable[[], Figure]
    table: Table
    legend: tuple[tuple[str, str], ...] = ()  # role of the colour, what it stands for


SECTIONS: Final = ("Score", "Trade-off", "Size", "Outputs", "Values", "Distributions")


def charts_of(story: Story) -> tuple[Chart, ...]:
    """The charts that the parts of a story allow, in the order in which a page shows them.

    Raises:
        ArgumentError: the `report` extra is not installed.
    """
    need_report()
    return tuple(_charts(story))


def _charts(story: Story) -> Iterator[Chart]:
    from taut.evaluate.charts_layers import layer_charts
    from taut.evaluate.charts_scores import score_charts
    from taut.evaluate.charts_trade import trade_charts
    from taut.evaluate.charts_values import value_charts

    kinds = (score_charts, trade_charts, layer_charts, value_charts)
    found = [chart for kind in kinds for chart in kind(story)]
    yield from sorted(found, key=lambda chart: SECTIONS.index(chart.section))
