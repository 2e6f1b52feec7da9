"""The charts of a story, each with what it says in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from taut.reporting._canvas import need_report
from taut.reporting.chart import Chart
from taut.reporting.story import Story

if TYPE_CHECKING:
    pass


SECTIONS: Final = ("Score", "Trade-off", "Size", "Outputs", "Values", "Distributions")


def charts_of(story: Story) -> tuple[Chart, ...]:
    """The charts that the parts of a story allow, in the order in which a page shows them.

    Raises:
        ArgumentError: the `report` extra is not installed.
    """
    need_report()
    return tuple(_charts(story))


def _charts(story: Story) -> Iterator[Chart]:
    from taut.reporting.charts_layers import layer_charts
    from taut.reporting.charts_scores import score_charts
    from taut.reporting.charts_trade import trade_charts
    from taut.reporting.charts_values import value_charts

    kinds = (score_charts, trade_charts, layer_charts, value_charts)
    found = [chart for kind in kinds for chart in kind(story)]
    yield from sorted(found, key=lambda chart: SECTIONS.index(chart.section))
