"""What the names of an ONNX graph stand for: weights, as they are, turned or cut into rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from taut.analysis.onnx_attributes import constants_of, numbers, whole
from taut.io.onnx import Place
from taut.networks.onnx_inner import MAIN, InnerValue

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

DOMAINS: Final = ("", "ai.onnx", "com.microsoft")
"""Whose operators are known here."""

_AS_IT_IS: Final = ("Identity", "Cast")
_TAKEN: Final = {"Slice": 1, "Split": 1, "Unsqueeze": 1, "Concat": None}  # inputs that are values


@dataclass
class GraphNames:
    """The names in the graph at `place`, those of outer graphs too; `shapes` are the weights'.

    `stands` has what a name stands for, a weight, and whether transposed; `rows` the matrix that a
    name has rows of; `makers` the graph that it comes from; `constants` are lists of whole numbers.
    `branch`: the graph is one of an If's, in no loop, and runs or does not.
    """

    place: Place
    shapes: Mapping[str, tuple[int, ...]]
    stands: dict[str, tuple[str, bool]]
    rows: dict[str, str] = field(default_factory=dict)
    makers: dict[str, Place] = field(default_factory=dict)
    constants: dict[str, tuple[int, ...]] = field(default_factory=dict)
    branch: bool = False

    def enter(self, graph: GraphProto, place: Place, operator: str = "") -> GraphNames:
        """Those in this graph, or in a subgraph of an operator's, to begin with."""
        inner = replace(
            self,
            place=place,
            stands=dict(self.stands),
            rows=dict(self.rows),
            makers=dict(self.makers),
            constants=self.constants | constants_of(graph),
            branch=operator == "If" and (self.branch or self.place == MAIN),
        )
        for own in (*graph.input, *graph.initializer):
            inner.make(own.name)
        return inner

    def make(self, name: str) -> None:
        """Note that a name comes from this graph."""
        if self.place != MAIN:  # there, weights are inputs
            self.stands.pop(name, None)
            self.rows.pop(name, None)
        self.makers[name] = self.place

    def value(self, name: str, *, whole_numbers: bool = False) -> InnerValue:
        """A value of the graph, and where it comes from; in a branch, as it is when that runs."""
        scope = self.place if self.branch else self.makers.get(name, MAIN)
        return InnerValue(scope, name, whole_numbers)

    def matrix(self, name: str) -> tuple[str, bool] | None:
        """The weight that a name stands for, if it has two axes or more; whether transposed."""
        known = self.stands.get(name)
        return known if known is not None and len(self.shapes[known[0]]) >= 2 else None

    def plain(self, name: str) -> str:
        """The weight that a name stands for as it is; "" if there is none."""
        weight, turned = self.stands.get(name, ("", False))
        return "" if turned else weight

    def follow(self, node: NodeProto) -> bool:
        """Whether a node gives a weight as it is, transposed, or its rows."""
        if node.domain not in DOMAINS or not node.input:
            return False
        return self._follow_whole(node) or self._follow_rows(node)

    def _follow_whole(self, node: NodeProto) -> bool:
        known = self.stands.get(node.input[0])
        if known is not None and node.op_type in _AS_IT_IS:
            self.stands[node.output[0]] = known
            return True
        if known is not None and node.op_type == "Transpose" and len(self.shapes[known[0]]) == 2:
            order = numbers(node, "perm", (1, 0))
            self.stands[node.output[0]] = known[0], known[1] != (order == (1, 0))
            return True
        return False

    def _follow_rows(self, node: NodeProto) -> bool:
        """Whether a node gives rows of a matrix, in another order or as one of several matrices.

        So exporters turn the gates of recurrent layers round.
        """
        sources = [self._rows_of(name) for name in node.input[: _TAKEN.get(node.op_type)]]
        weight = sources[0] if sources and len(set(sources)) == 1 else None
        if weight is None or node.domain not in DOMAINS or self._axes(node) != [0]:
            return False
        self.rows.update(dict.fromkeys(node.output, weight))
        return True

    def _rows_of(self, name: str) -> str | None:
        """The matrix that a name has rows of, as they are stored."""
        known = self.stands.get(name)
        if known is not None:
            return known[0] if len(self.shapes[known[0]]) == 2 and not known[1] else None
        return self.rows.get(name)

    def _axes(self, node: NodeProto) -> list[int] | None:
        """The axes that a node cuts, joins or adds; None if it does none, or they are not known."""
        if node.op_type not in _TAKEN:
            return None
        if node.op_type in ("Concat", "Split"):
            return [whole(node, "axis")]
        place = 3 if node.op_type == "Slice" else 1
        given = numbers(node, "axes", ())
        if not given and len(node.input) > place:
            given = self.constants.get(node.input[place], ())
        return list(given) or None
