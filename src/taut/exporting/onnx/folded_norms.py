"""What follows a convolution channel by channel, put into its weight and bias.

Runtimes do so with floats when they load a graph, and cannot any more once Q and DQ nodes stand
around the convolution: a norm after it would compute in floats, between integers on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.exporting.onnx.bodies import graphs, key_of, nodes, take_other
from taut.exporting.onnx.node_forms import attributes
from taut.exporting.onnx.open_graph import OpenGraph

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_EPSILON: Final = 1e-5  # ONNX's own, where a norm says none
Vector = NDArray[np.float64]


def fold_norms(model: ModelProto) -> None:
    """Fold batch norms, factors and sums of a value a channel into the convolutions before them."""
    graph = OpenGraph(model)
    _straighten(graph)
    folding = _Folding(graph)
    for one in graphs(graph.graph):
        folding.fold(one)
    folding.put()
    graph.sweep()


def _straighten(graph: OpenGraph) -> None:
    """Have all take constants themselves that an Identity passes on."""
    other: dict[str, str] = {}
    for node in nodes(graph.graph):
        if node.op_type == "Identity":
            name = other.get(node.input[0], node.input[0])
            if name in graph.constants:
                other[node.output[0]] = name
    for node in graph.graph.node:
        take_other(node, other)


@dataclass
class _Convolution:
    """A convolution, and what its weight and bias have become."""

    node: NodeProto
    weight: np.ndarray
    bias: Vector
    changed: bool = False

    def change(self, factor: Vector, shift: Vector) -> None:
        """Have it give factor * y + shift, a value a channel, of what it gave."""
        rows = factor.reshape(-1, *[1] * (self.weight.ndim - 1))
        self.weight = (self.weight * rows).astype(np.float32)
        self.bias = self.bias * factor + shift
        self.changed = True


class _Folding:
    """Goes through graphs and gathers what is to be put in place of constants."""

    def __init__(self, graph: OpenGraph) -> None:
        self._graph = graph
        self._taken: dict[str, int] = {}
        for node in nodes(graph.graph):
            for name in node.input:
                self._taken[name] = self._taken.get(name, 0) + 1
        for one in graphs(graph.graph):
            for output in one.output:
                self._taken[output.name] = 2  # it has to stay
        self._found: list[_Convolution] = []

    def fold(self, graph: GraphProto) -> None:
        """Fold what can be into each convolution of a graph."""
        made: dict[str, _Convolution] = {}
        gone: list[int] = []
        for index, node in enumerate(graph.node):
            if node.op_type == "Conv" and (found := self._convolution(node)) is not None:
                made[key_of(node)] = found
                self._found.append(found)
                continue
            before = next((made[n] for n in node.input if n in made), None)
            if before is None or self._taken[key_of(before.node)] != 1:
                continue
            terms = self._terms(node, before)
            if terms is not None:
                before.change(*terms)
                before.node.output[0] = node.output[0]
                made[node.output[0]] = before
                gone.append(index)
        for index in reversed(gone):
            del graph.node[index]

    def _convolution(self, node: NodeProto) -> _Convolution | None:
        """A convolution whose weight and bias are constants, and nobody else's."""
        constants = self._graph.constants
        weight = constants.get(node.input[1])
        named = node.input[2] if len(node.input) > 2 else ""
        bias = constants.get(named) if named else np.zeros(0)
        if weight is None or bias is None or weight.dtype != np.float32:
            return None
        if self._taken[node.input[1]] != 1:
            return None
        whole = bias.astype(np.float64) if named else np.zeros(weight.shape[0])
        return _Convolution(node, weight, whole)

    def _terms(self, node: NodeProto, before: _Convolution) -> tuple[Vector, Vector] | None:
        """Factor and shift of a node that follows; None where it does something else."""
        count = before.weight.shape[0]
        if node.op_type == "BatchNormalization":
            return self._norm(node)
        if node.op_type not in ("Add", "Mul") or node.input[0] == node.input[1]:
            return None
        other = next(name for name in node.input if name != key_of(before.node))
        values = _per_channel(self._graph.constants.get(other), before.weight.ndim, count)
        if values is None:
            return None
        if node.op_type == "Add":
            return np.ones(count), values
        return values, np.zeros(count)

    def _norm(self, node: NodeProto) -> tuple[Vector, Vector] | None:
        if any(name for name in node.output[1:]):
            return None
        constants = self._graph.constants
        if not all(name in constants for name in node.input[1:5]):
            return None
        given = [constants[name].astype(np.float64) for name in node.input[1:5]]
        scale, shift, mean, spread = given
        known = attributes(node)
        epsilon = known["epsilon"].f if "epsilon" in known else _EPSILON
        factor = scale / np.sqrt(spread + epsilon)
        return factor, shift - mean * factor

    def put(self) -> None:
        """Put the changed weights and biases into the graph."""
        for one in self._found:
            if not one.changed:
                continue
            self._graph.replace(one.node.input[1], one.weight)
            bias = self._graph.put(f"{one.node.input[1]}_bias", one.bias.astype(np.float32))
            del one.node.input[2:]
            one.node.input.append(bias)


def _per_channel(values: np.ndarray | None, axes: int, count: int) -> Vector | None:
    """A constant that is added or multiplied as a value a channel; None where it is another."""
    if values is None or values.dtype != np.float32 or values.ndim > axes:
        return None
    shape = (1,) * (axes - values.ndim) + values.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1) or shape[1] not in (1, count):
        return None
    return np.broadcast_to(values.reshape(-1).astype(np.float64), (count,))
