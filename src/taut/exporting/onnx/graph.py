"""A graph's parts: who takes a value, its constants, its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.bodies import captured, take_other
from taut.exporting.onnx.fresh_names import names_in
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def arrays(graph: GraphProto) -> dict[str, np.ndarray]:
    """The constants of a graph by name."""
    helper = need("onnx.numpy_helper")
    return {tensor.name: helper.to_array(tensor) for tensor in graph.initializer}


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """The nodes that take each value, by themselves or in a body that they hold; a node once."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys([*node.input, *sorted(captured(node))]):
            if name:
                found.setdefault(name, []).append(node)
    return found


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Call a value by another name, everywhere."""
    for node in graph.node:
        take_other(node, {old: new})
        for index, name in enumerate(node.output):
            if name == old:
                node.output[index] = new
    for part in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if part.name == old:
            part.name = new


def prune(graph: GraphProto) -> None:
    """Take out pads of nothing, and constants and described values that nobody names."""
    constants = arrays(graph)
    outputs = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in graph.node:
        pads = constants.get(node.input[1]) if node.op_type == "Pad" else None
        if pads is not None and not pads.any() and node.output[0] not in outputs:
            _reroute(graph, node.output[0], node.input[0])
        else:
            kept.append(node)
    set_nodes(graph, kept)


def set_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Make these the graph's nodes, and drop constants and values that none of them names."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    named = {n for node in graph.node for n in (*node.input, *node.output, *captured(node))}
    named |= {output.name for output in graph.output}
    for parts in (graph.initializer, graph.value_info):
        for index in reversed([i for i, part in enumerate(parts) if part.name not in named]):
            del parts[index]


def _reroute(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        take_other(node, {old: new})


def name_weights(graph: GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Give constants that are a weight, or one transposed, the weight's name back."""
    taken = set(names_in(graph))
    marks = _marks({name: values for name, values in weights.items() if name not in taken})
    for name, values in arrays(graph).items():
        if name in weights or values.ndim < 2 or values.dtype.kind != "f":
            continue
        if (known := marks.pop(mark_of(values), None)) is not None:
            rename(graph, name, known)


def _marks(weights: Mapping[str, np.ndarray]) -> dict[bytes, str]:
    """Names of weights by their digests, as they are and transposed; the first of equals."""
    found: dict[bytes, str] = {}
    for name, values in weights.items():
        if values.ndim == 2:
            found.setdefault(mark_of(np.ascontiguousarray(values.T)), name)
        if values.ndim >= 2:
            found.setdefault(mark_of(values), name)
    return found


def mark_of(values: np.ndarray) -> bytes:
    """A digest of the values of a tensor of floats, as float32, and of its shape."""
    data = np.ascontiguousarray(values, np.float32).tobytes()
    return blake2b(data, digest_size=16, person=str(values.shape).encode()[:16]).digest()
