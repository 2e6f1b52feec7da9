"""One page that shows a file: what it holds, what it cost, and what it was made from."""

from taut.reporting.chart import Chart, Table

__all__ = ["Chart", "Table"]
