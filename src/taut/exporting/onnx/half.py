"""Weights as float16, which a runtime widens once, when it loads; and layers that are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.bodies import rewrite, take_other
from taut.exporting.onnx.graph_weights import (
    GraphWeight,
    find_weights,
    listed,
    no_weights,
    sizes_of,
)
from taut.exporting.onnx.onnx_form import Placed, count_floats
from taut.exporting.onnx.open_graph import OpenGraph
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import NodeProto

_LOST: Final = 1e-3  # of a weight's size; float16 loses 3e-4 where it is in its range
_TYPES: Final = {"float16": 10, "bfloat16": 16}  # ONNX's numbers, Cast's `to`
_INTEGERS: Final = {"Gather": (1,), "LSTM": (4,), "GRU": (4,), "RNN": (4,)}  # inputs of nodes


def store_half(graph: OpenGraph, without: frozenset[str] = frozenset()) -> Placed:
    """Store the weights of layers in half the bytes, a Cast after each.

    All else stays as it is: scales of a Resize, ranges and epsilons are numbers that a graph
    reckons with. Arithmetic stays in float32: CPUs have few kernels for less, and the Cast of a
    constant is folded when the file is loaded.

    Raises:
        ArgumentError: a value is beyond what float16 holds, or there is no weight.
    """
    found, left = find_weights(graph, without)
    floats = count_floats(graph.constants)
    names = sizes_of(found, graph)
    wide = [name for name in names if graph.constants[name].dtype == np.float32]
    if not names and not without:
        raise no_weights(graph, "of layers", left)
    rounded, small = 0, []
    nodes: list[NodeProto] = []
    other: dict[str, str] = {}
    for name in wide:
        values = graph.constants[name]
        half = _halved(name, values)
        if _lost(values, half) > _LOST:
            small.append(name)
            continue
        rounded += not np.array_equal(half.astype(np.float32), values, equal_nan=True)
        graph.replace(name, half)
        nodes.append(graph.make("Cast", [name], f"{name}_wide", to=1))
        other[name] = nodes[-1].output[0]
    _take(graph, other, nodes)
    notes = (
        [f"{listed(small)}: stays float (float16 has no values as small as its)"] if small else []
    )
    return Placed(floats - rounded, rounded, (*left, *notes), names)


def _halved(name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half[np.isfinite(values)]).all():
        most = float(np.abs(values[np.isfinite(values)]).max())
        raise ArgumentError(
            f'tensor "{name}" reaches {most:.3g}, and float16 65504: give weights="float32"'
        )
    return half


def _lost(values: np.ndarray, half: np.ndarray) -> float:
    """The error of a weight's values as a part of their size, both root mean squares."""
    x = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    y = np.nan_to_num(half.astype(np.float64), posinf=0, neginf=0)
    power = float(np.square(x).sum())
    return float(np.sqrt(np.square(x - y).sum() / power)) if power else 0.0


def _take(graph: OpenGraph, other: dict[str, str], first: list[NodeProto]) -> None:
    """Have all nodes take the widened weights, which the first nodes of the graph make."""
    for node in graph.graph.node:
        take_other(node, other)
    held = [*first, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(held)


def widen_layers(graph: OpenGraph, found: list[GraphWeight]) -> list[GraphWeight]:
    """Have layers that compute in 16 bits compute in 32, their inputs and outputs as they were.

    CPUs do so anyway, and operators of integers give float32. Gives the weights of the new graph.
    """
    narrow = {one.key: one.node for one in found if one.half}
    if not narrow:
        return found
    widths = {one.key: _TYPES[one.dtype] for one in found if one.half}

    def made(node: NodeProto) -> list[NodeProto]:
        key = next((name for name in node.output if name), "")
        if key not in narrow:
            return [node]
        return _in_single(graph, node, widths[key])

    rewrite(graph.graph, made)
    kept = {one.name for one in found}
    return [one for one in find_weights(graph)[0] if one.name in kept]


def _in_single(graph: OpenGraph, node: NodeProto, width: int) -> list[NodeProto]:
    """A node between casts."""
    make = need("onnx.helper").make_node
    before, after = [], []
    for index, name in enumerate(node.input):
        if name and index not in _INTEGERS.get(node.op_type, ()):
            before.append(graph.make("Cast", [name], f"{name}_single", to=1))
            node.input[index] = before[-1].output[0]
    for index, name in enumerate(node.output):
        if name:
            single = graph.fresh(f"{name}_single")
            after.append(make("Cast", [single], [name], to=width))
            node.output[index] = single
    return [*before, node, *after]
