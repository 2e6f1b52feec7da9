"""Integers of weights put into a graph, each once, in the layout that a node takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.graph_weights import GraphWeight
from taut.exporting.onnx.open_graph import OpenGraph
from taut.exporting.onnx.row_integers import Stored

if TYPE_CHECKING:
    from onnx import NodeProto

Grid = tuple[str, tuple[int, ...]]


class HeldIntegers:
    """Gives the names of constants that hold a weight's integers, scales and zero points.

    `uses` are all uses that will take integers, each with whether its node takes them transposed;
    `centred` are the grids whose integers are uint8 around 128 where they are wide.
    """

    def __init__(
        self,
        graph: OpenGraph,
        uses: Iterable[tuple[GraphWeight, bool]],
        integers: Mapping[Grid, Stored],
        centred: Iterable[Grid],
    ) -> None:
        self._graph, self._integers = graph, integers
        self._centred = {grid for grid in centred if integers[grid].wide}
        self._turns: dict[Grid, set[bool]] = {}
        for weight, turned in uses:
            self._turns.setdefault(weight.grid, set()).add(turned)
        self._names: dict[tuple[str, Grid], str] = {}
        self._used: set[str] = set()  # constants whose own name is taken again

    def found(self, weight: GraphWeight) -> Stored:
        """The integers of a weight themselves."""
        return self._integers[weight.grid]

    def zero(self, weight: GraphWeight) -> int:
        """What stands for zero."""
        return 128 if weight.grid in self._centred else 0

    def values(self, weight: GraphWeight, *, turned: bool) -> tuple[str, list[NodeProto]]:
        """The name of the integers as the node takes them, and the node that turns them, if any.

        They are turned at run time only where another node takes them as they are.
        """
        whole = self._turns[weight.grid] == {True}
        name = self._held(weight, turned=whole)
        if not turned or whole:
            return name, []
        turn = self._graph.make("Transpose", [name], f"{name}_transposed", perm=[1, 0])
        return turn.output[0], [turn]

    def scales(self, weight: GraphWeight) -> str:
        """The name of the scales, one a row."""
        return self._once("scale", weight, lambda: self.found(weight).flat_scales)

    def zeros(self, weight: GraphWeight) -> str:
        """The name of the zero points, one a row, in the integers' type."""
        zero = self.zero(weight)
        kind = np.uint8 if zero else np.int8
        count = self.found(weight).flat_scales.shape
        return self._once("zero_point", weight, lambda: np.full(count, zero, kind))

    def once(self, part: str, weight: GraphWeight, values: np.ndarray) -> str:
        """The name of something else of a weight's, which is put in when it is asked for first."""
        return self._once(part, weight, lambda: values)

    def _held(self, weight: GraphWeight, *, turned: bool) -> str:
        key = "values", weight.grid
        if key not in self._names:
            found = self.found(weight)
            values = found.safe[0] if self.zero(weight) else found.values
            self._names[key] = self._put(weight, values.T if turned else values)
        return self._names[key]

    def _put(self, weight: GraphWeight, values: np.ndarray) -> str:
        """Put integers under the weight's own name, and others of the same constant beside it."""
        name = weight.name
        if name in self._used:
            return self._graph.put(name, values)
        self._used.add(name)
        return self._graph.replace(name, values)

    def _once(self, part: str, weight: GraphWeight, values: object) -> str:
        key = part, weight.grid
        if key not in self._names:
            base = self._names.get(("values", weight.grid), weight.name)
            self._names[key] = self._graph.put(f"{base}_{part}", values())  # type: ignore[operator]
        return self._names[key]
