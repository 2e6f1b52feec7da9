"""Which values of a graph are rounded to integers when its weights are."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.exporting.onnx.bodies import key_of
from taut.exporting.onnx.graph import consumers
from taut.exporting.onnx.graph_weights import GraphWeight

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_SAME: Final = ("Relu", "Clip", "MaxPool", "Slice", "Pad", "Reshape", "Flatten", "Transpose")
_POOLS: Final = ("AveragePool", "GlobalAveragePool")
_JOINS: Final = ("Add", "Concat")
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

    def only(self, known: Container[str]) -> Chosen:
        """Those of the values whose ranges are known."""

        def kept(names: frozenset[str]) -> frozenset[str]:
            return frozenset(name for name in names if self.source.get(name, name) in known)

        return Chosen(kept(self.chained), kept(self.fed), self.source)

    @property
    def measured(self) -> list[str]:
        """The values whose ranges calibration has to find."""
        return sorted({self.source.get(name, name) for name in self.chained | self.fed})


def choose(graph: GraphProto, weights: list[GraphWeight], constants: Container[str]) -> Chosen:
    """Which values of a graph are rounded when these weights, its layers', are integers."""
    layers = {weight.key: weight for weight in weights}
    takers = consumers(graph)
    outputs = {output.name for output in graph.output}
    convolutions = {name for name, weight in layers.items() if weight.kind == "conv"}
    chain, source = _chain(graph, convolutions, constants)
    chained = {name for name in chain if name not in outputs and not _is_fused(takers, name)}
    fed = {weight.node.input[0] for weight in layers.values()} - chained
    return Chosen(frozenset(chained), frozenset(fed), _ranges_of(source, chained | fed))


def _is_fused(takers: Mapping[str, list[NodeProto]], name: str) -> bool:
    """Whether the one node that takes a value becomes part of the node that makes it."""
    after = takers.get(name, [])
    return len(after) == 1 and after[0].op_type in _FUSED


def _ranges_of(source: Mapping[str, str], rounded: set[str]) -> dict[str, str]:
    """Of values that move another's numbers, in the graph's order: the one whose range they have.

    That is the first of a row of such values, if it is rounded.
    """
    found: dict[str, str] = {}
    for name, before in source.items():
        first = found.get(before, before)
        if first in rounded:
            found[name] = first
    return found


def _chain(
    graph: GraphProto, convolutions: set[str], known: Container[str]
) -> tuple[set[str], dict[str, str]]:
    """Values that integer convolutions make, and whatever follows from such values alone."""
    chain: set[str] = set()
    source: dict[str, str] = {}
    for node in graph.node:
        name = key_of(node)
        first = _first_value(node, known)
        joined = node.op_type in _JOINS and chain.issuperset(node.input)
        passed = _passes_on(node) and first in chain
        if name in convolutions or joined or passed:
            chain.add(name)
        if passed and _keeps_numbers(node):
            source[name] = first
    return chain, source


def _first_value(node: NodeProto, constants: Container[str]) -> str:
    """What a node takes first that is no constant; empty where it takes none."""
    return next((name for name in node.input if name and name not in constants), "")


def _passes_on(node: NodeProto) -> bool:
    """Whether a node of integers gives integers of about the same range."""
    return node.op_type in (*_SAME, *_POOLS) or _is_pool(node)


def _keeps_numbers(node: NodeProto) -> bool:
    """Whether a node gives numbers that it takes, or zero, and no others."""
    return node.op_type in _SHARED or (node.op_type == "Pad" and _pads_zeros(node))


def _pads_zeros(node: NodeProto) -> bool:
    return len(node.input) == 2 and all(a.s == b"constant" for a in node.attribute)


def _is_pool(node: NodeProto) -> bool:
    return node.op_type == "ReduceMean" and len(node.input) == 2
