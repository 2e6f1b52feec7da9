"""The weights of a graph as integers: the file's own where a tensor is on a grid of them.

Surprise: on x86 without VNNI the fast kernel adds two products of 8 x 8 bits in 16, and clips the
sum silently. That cannot happen where |w| <= 64, or where the activations have 7 bits. So a matrix
that is rounded here gets 7 bits; one whose own integers are wider becomes uint8 around 128, whose
kernel is right and slower; and convolutions keep 8 bits, their inputs get 7 (onnx_static.py).
Measured: ResNet-20 loses 0.0 points so, 0.2 with 7-bit weights, and 1.7 where sums clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.exporting.integers import to_integers
from taut.exporting.onnx.graph import arrays, consumers

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

SAFE: Final = 64  # two products of it and 255 fit into 16 bits
LEAST: Final = 64  # values of a weight below which integers save nothing


@dataclass(frozen=True)
class GraphWeight:
    """A constant that a node multiplies by; `axis` is the axis of its outputs, the rows.

    `taken` is what the node calls it: the constant itself, or what a Transpose makes of it. So a
    table that a model also multiplies by, which is tied, is there once.
    """

    name: str
    node: NodeProto
    kind: str  # conv, matmul or gather
    axis: int
    taken: str

    @property
    def rows(self) -> int:
        """The axis of the outputs in what the node takes."""
        return self.axis if self.taken == self.name else 1 - self.axis


@dataclass(frozen=True)
class Stored:
    """Integers int8 of a constant's shape, scales float32 of its rows.

    `exact` tells whether they give the constant as it is; `wide` whether any passes `SAFE`.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    exact: bool

    @property
    def safe(self) -> tuple[NDArray[np.generic], int]:
        """Integers whose products no kernel clips, and their zero point: uint8 where wide."""
        if not self.wide:
            return self.values, 0
        return (self.values.astype(np.int16) + 128).astype(np.uint8), 128

    @property
    def wide(self) -> bool:
        """Whether sums of two products may overflow 16 bits."""
        return bool(np.abs(self.values.astype(np.int16)).max(initial=0) > SAFE)


def find_weights(graph: GraphProto) -> tuple[list[GraphWeight], list[str]]:
    """The weights that integers can stand for, and a note for each kind that they cannot."""
    constants = {
        name: values
        for name, values in arrays(graph).items()
        if values.dtype == np.float32 and values.ndim >= 2 and values.size >= LEAST
    }
    turned = _turned(graph, constants)
    found: list[GraphWeight] = []
    left: dict[str, list[str]] = {}
    for node in graph.node:
        if node.output[0] in turned:
            continue
        for index, taken in enumerate(node.input):
            name = turned.get(taken, taken)
            if name not in constants:
                continue
            axis = _rows(node, index, constants[name].ndim)
            if axis is None:
                left.setdefault(node.op_type, []).append(name)
            else:
                kind = {"Conv": "conv", "Gather": "gather"}.get(node.op_type, "matmul")
                axis = axis if taken == name else 1 - axis
                found.append(GraphWeight(name, node, kind, axis, taken))
    for weight in found:
        if any(one.name == weight.name and one.axis != weight.axis for one in found):
            left.setdefault(weight.node.op_type, []).append(weight.name)
    odd = {name for names in left.values() for name in names}
    notes = [
        f"{_listed(names)}: stays float ({op} has no form in integers here)"
        for op, names in left.items()
    ]
    return [weight for weight in found if weight.name not in odd], notes


def _turned(graph: GraphProto, constants: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Matrices that a Transpose makes of a constant, for products alone; the constants' names."""
    takers, outputs = consumers(graph), {output.name for output in graph.output}
    found = {}
    for node in graph.node:
        if node.op_type != "Transpose" or node.input[0] not in constants:
            continue
        after, name = takers.get(node.output[0], []), node.output[0]
        order = [list(attribute.ints) for attribute in node.attribute]
        plain = constants[node.input[0]].ndim == 2 and order in ([], [[1, 0]])
        products = all(
            one.op_type in ("MatMul", "Gemm") and name not in (one.input[0], *one.input[2:])
            for one in after
        )
        if plain and products and name not in outputs:
            found[name] = node.input[0]
    return found


def _listed(names: list[str]) -> str:
    """The first of them, each once."""
    single = list(dict.fromkeys(names))
    more = f" and {len(single) - 3} more" if len(single) > 3 else ""
    return ", ".join(single[:3]) + more


def _rows(node: NodeProto, index: int, axes: int) -> int | None:
    """The axis of a constant's outputs as input `index` of a node; None where it has no part."""
    if node.op_type == "Conv" and index == 1:
        return 0
    if node.op_type == "MatMul" and index == 1 and axes == 2:
        return 1
    if node.op_type == "Gemm" and index == 1:
        flags = {a.name: a for a in node.attribute}
        plain = all(flags[n].f == 1.0 for n in ("alpha", "beta") if n in flags)
        if not plain or ("transA" in flags and flags["transA"].i):
            return None
        return 0 if "transB" in flags and flags["transB"].i else 1
    if node.op_type == "Gather" and index == 0 and axes == 2:
        flags = {a.name: a for a in node.attribute}
        return 0 if "axis" not in flags or flags["axis"].i == 0 else None
    return None


def stored(values: np.ndarray, axis: int, *, narrow: bool = True) -> Stored:
    """The integers of a constant, a scale a row; `narrow` rounds to 7 bits, not 8.

    >>> found = stored(np.array([[0.5, -1.5], [2.0, 4.0]]), 0)
    >>> found.values.tolist(), found.scales.tolist(), found.exact
    ([[1, -3], [1, 2]], [0.5, 2.0], True)
    """
    rows = np.moveaxis(values, axis, 0)
    matrix = np.ascontiguousarray(rows.reshape(rows.shape[0], -1))
    found = to_integers(matrix, 8)
    if not found.exact and narrow:
        found = to_integers(matrix, 7)
    scales = found.scales.reshape(-1).astype(np.float32)
    empty = ~found.values.any(axis=1)
    if empty.any() and not empty.all():  # any scale gives zeros; one like the others', for biases
        scales[empty] = np.median(scales[~empty])
    integers = found.values.astype(np.int8).reshape(rows.shape)
    return Stored(
        np.ascontiguousarray(np.moveaxis(integers, 0, axis)),
        scales,
        found.exact,
    )
