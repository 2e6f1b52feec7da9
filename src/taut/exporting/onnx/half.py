"""Weights as float16, which a runtime widens once, when it loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.graph import arrays, put, set_nodes
from taut.exporting.onnx.onnx_form import Placed
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto


def store_half(graph: GraphProto) -> Placed:
    """Store float32 constants in half the bytes, a Cast after each.

    Arithmetic stays in float32: CPUs have few kernels for less, and the Cast of a constant is
    folded when the file is loaded.

    Raises:
        ArgumentError: a value is beyond what float16 holds.
    """
    helper = need("onnx.helper")
    exact = rounded = 0
    nodes = []
    for name, values in arrays(graph).items():
        if values.dtype != np.float32 or not values.ndim:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half[np.isfinite(values)]).all():
            most = float(np.abs(values[np.isfinite(values)]).max())
            raise ArgumentError(
                f'tensor "{name}" reaches {most:.3g}, and float16 65504: give weights="float32"'
            )
        if np.array_equal(half.astype(np.float32), values, equal_nan=True):
            exact += 1
        else:
            rounded += 1
        put(graph, name, half)
        wide = f"{name}_wide"
        for node in graph.node:
            for index, taken in enumerate(node.input):
                if taken == name:
                    node.input[index] = wide
        nodes.append(helper.make_node("Cast", [name], [wide], to=1))
    set_nodes(graph, [*nodes, *graph.node])
    return Placed(exact, rounded)
