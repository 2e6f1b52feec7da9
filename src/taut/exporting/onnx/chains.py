"""Which values of a graph are rounded to integers when its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.exporting.onnx.graph import consumers
from taut.exporting.onnx.graph_weights import GraphWeight

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_SAME: Final = ("Relu", "Clip", "MaxPool", "Slice", "Pad", "Reshape", "Flatten", "Transpose")
_POOLS: Final = ("AveragePool", "GlobalAveragePool")
_SHARED: Final = ("MaxPool", "Slice", "Reshape", "Flatten", "Transpose")  # output: input's range
_FUSED: Final = ("Relu", "Clip")  # into the integers' own limits


@dataclass(frozen=True)
class Chosen:
    """Values to be rounded: `chained` for all who take them, `fed` for layers' inputs alone.

    `source` gives, of values that only move another's numbers, the one whose range they have.
    """

    chained: frozenset[str]
    fed: frozenset[str]
    source: Mapping[str, str]

    @property
    def measured(self) -> list[str]:
        """The values whose ranges calibration has to find."""
        return sorted({self.source.get(name, name) for name in self.chained | self.fed})


def choose(graph: GraphProto, weights: list[GraphWeight]) -> Chosen:
    """Which values of a graph are rounded when these weights are integers."""
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind != "gather"}
    takers = consumers(graph)
    outputs = {output.name for output in graph.output}
    chain, source = _chain(graph, layers)
    chained = set()
    for name in chain:
        after = takers.get(name, [])
        alone = len(after) == 1 and after[0].op_type in _FUSED
        if name not in outputs and not alone:
            chained.add(name)
    fed = {weight.node.input[0] for weight in layers.values()} - chained
    for name in list(source):
        at = name
        while at in source:
            at = source[at]
        if at in chained or at in fed:
            source[name] = at
        else:
            del source[name]
    return Chosen(frozenset(chained), frozenset(fed), dict(source))


def _chain(graph: GraphProto, layers: Mapping[str, GraphWeight]) -> tuple[set[str], dict[str, str]]:
    """Values that integer convolutions make, and whatever follows from such values alone."""
    chain: set[str] = set()
    source: dict[str, str] = {}
    known = {entry.name for entry in graph.initializer}
    for node in graph.node:
        name = node.output[0]
        taken = [i for i in node.input if i and i not in known]
        if name in layers and layers[name].kind == "conv":
            chain.add(name)
        elif node.op_type in _SAME or node.op_type in _POOLS or _is_pool(node):
            if taken and taken[0] in chain:
                chain.add(name)
                if node.op_type in _SHARED or (node.op_type == "Pad" and _pads_zeros(node)):
                    source[name] = taken[0]
        elif node.op_type in ("Add", "Concat") and chain.issuperset(node.input):
            chain.add(name)
    return chain, source


def _pads_zeros(node: NodeProto) -> bool:
    return len(node.input) == 2 and all(a.s == b"constant" for a in node.attribute)


def _is_pool(node: NodeProto) -> bool:
    return node.op_type == "ReduceMean" and len(node.input) == 2
