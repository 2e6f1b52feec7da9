"""Integer weights and integer activations of calibrated ranges: Q and DQ nodes in the graph.

A runtime that knows the pattern runs DQ -> Conv -> Relu -> Q as one integer kernel; one that does
not computes the same in floats. Chains of convolutions stay in integers from end to end, through
sums, pools and slices; linear layers of a transformer take integers and give floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from laconic.export.onnx_graph import arrays, consumers, put, set_nodes
from laconic.export.onnx_packages import need
from laconic.export.onnx_ranges import affine, find_range, observe
from laconic.export.onnx_session import feed, observed
from laconic.export.onnx_weights import Stored, Weight

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

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


def insert_static(
    model: ModelProto,
    weights: list[Weight],
    integers: Mapping[str, Stored],
    batches: Iterable[object],
    ranges: str,
) -> None:
    """Calibrate on the batches and put Q and DQ nodes in.

    Raises:
        ArgumentError: there is no batch, one does not fit the graph, or values are not finite.
    """
    chosen = choose(model.graph, weights)
    steps = _steps(model, weights, integers, chosen, batches, ranges)
    insert(model.graph, weights, integers, chosen, steps)


def _steps(
    model: ModelProto,
    weights: list[Weight],
    integers: Mapping[str, Stored],
    chosen: Chosen,
    batches: Iterable[object],
    ranges: str,
) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every value that is measured.

    Inputs of layers whose weights are wide get 7 bits, so that sums of two products fit 16 bits.
    """
    names = chosen.measured
    session = observed(model, names)
    feeds = [feed(session, batch) for batch in batches]
    histograms = observe(feeds, names, lambda given, wanted: session.run(list(wanted), dict(given)))
    tight = {
        chosen.source.get(name, name)
        for weight in weights
        if weight.kind != "gather" and integers[weight.name].wide
        for name in (weight.node.input[0],)
    }
    found = {}
    for name, histogram in histograms.items():
        levels = 127 if name in tight else 255
        found[name] = affine(*find_range(histogram, ranges, levels), levels)
    return found


def choose(graph: GraphProto, weights: list[Weight]) -> Chosen:
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


def _chain(graph: GraphProto, layers: Mapping[str, Weight]) -> tuple[set[str], dict[str, str]]:
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
                if node.op_type in _SHARED:
                    source[name] = taken[0]
        elif node.op_type in ("Add", "Concat") and chain.issuperset(node.input):
            chain.add(name)
    return chain, source


def _is_pool(node: NodeProto) -> bool:
    return node.op_type == "ReduceMean" and len(node.input) == 2


def insert(
    graph: GraphProto,
    weights: list[Weight],
    integers: Mapping[str, Stored],
    chosen: Chosen,
    steps: Mapping[str, tuple[float, int]],
) -> None:
    """Put the pairs of nodes in; `steps` are scale and zero point of each measured value."""
    helper = need("onnx.helper")
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind != "gather"}
    constants = arrays(graph)
    now: dict[str, str] = {}  # what a value is called after Q and DQ
    nodes: list[NodeProto] = []

    def pair(name: str) -> None:
        scale, zero = steps[chosen.source.get(name, name)]
        at = [
            put(graph, f"{name}_scale", np.array(scale, np.float32)),
            put(graph, f"{name}_zero_point", np.array(zero, np.uint8)),
        ]
        now[name] = f"{name}_rounded"
        nodes.extend(
            [
                helper.make_node("QuantizeLinear", [name, *at], [f"{name}_integers"]),
                helper.make_node("DequantizeLinear", [f"{name}_integers", *at], [now[name]]),
            ]
        )

    for entry in graph.input:
        if entry.name in chosen.fed:
            pair(entry.name)
    for node in graph.node:
        weight, x = layers.get(node.output[0]), node.input[0] if node.input else ""
        for index, name in enumerate(node.input):
            if name in chosen.chained or (name in now and weight is not None and index == 0):
                node.input[index] = now[name]
        if weight is not None:
            nodes.extend(_weight_nodes(graph, weight, integers[weight.name]))
            node.input[1] = f"{weight.name}_floats"
            if len(node.input) > 2 and node.input[2] in constants:
                name = x
                scale, _ = steps[chosen.source.get(name, name)]
                bias = constants[node.input[2]]
                made = _bias_nodes(graph, node, bias, integers[weight.name], scale)
                nodes.extend(made)
        nodes.append(node)
        for name in node.output:
            if name in chosen.chained or name in chosen.fed:
                pair(name)
    set_nodes(graph, nodes)


def _weight_nodes(graph: GraphProto, weight: Weight, found: Stored) -> list[NodeProto]:
    helper = need("onnx.helper")
    name = weight.name
    if any(entry.name == f"{name}_scale" for entry in graph.initializer):
        return []  # of another layer that shares the weight
    put(graph, name, found.values)
    put(graph, f"{name}_scale", found.scales)
    put(graph, f"{name}_zero_point", np.zeros(found.scales.shape, np.int8))
    inputs = [name, f"{name}_scale", f"{name}_zero_point"]
    made = helper.make_node("DequantizeLinear", inputs, [f"{name}_floats"], axis=weight.axis)
    return [made]


def _bias_nodes(
    graph: GraphProto, node: NodeProto, bias: np.ndarray, found: Stored, scale: float
) -> list[NodeProto]:
    """A bias as int32 of the products' own scale, which integer kernels add for nothing."""
    helper = need("onnx.helper")
    steps = found.scales.astype(np.float64) * scale
    whole = np.rint(bias.astype(np.float64).reshape(-1) / steps)
    name = f"{node.output[0]}_bias"
    put(graph, name, np.clip(whole, -(2**31), 2**31 - 1).astype(np.int32))
    put(graph, f"{name}_scale", steps.astype(np.float32))
    put(graph, f"{name}_zero_point", np.zeros(steps.shape, np.int32))
    inputs = [name, f"{name}_scale", f"{name}_zero_point"]
    node.input[2] = f"{name}_floats"
    return [helper.make_node("DequantizeLinear", inputs, [f"{name}_floats"], axis=0)]
