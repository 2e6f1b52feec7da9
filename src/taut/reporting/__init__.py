"""One page that shows a file: what it holds, what it cost, and what it was made from."""

from taut.reporting.chart import Chart, Table
from taut.reporting.story import Story, TensorCost

__all__ = ["Chart", "Story", "Table", "TensorCost"]
