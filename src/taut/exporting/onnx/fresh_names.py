"""The one owner of a graph's names: gives those that nothing has, in the graph or within it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from taut.exporting.onnx.bodies import defined, graphs

if TYPE_CHECKING:
    from onnx import GraphProto


class FreshNames:
    """Names that are free, each given once."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = set(names_in(graph))

    def fresh(self, wanted: str) -> str:
        """The name, or the first of its like, that nothing has; it is taken then."""
        name, number = wanted, 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def names_in(graph: GraphProto) -> Iterator[str]:
    """All names of values that stand in a graph or within it."""
    for one in graphs(graph):
        yield from defined(one)
        yield from (output.name for output in one.output)
        for node in one.node:
            yield from node.input
