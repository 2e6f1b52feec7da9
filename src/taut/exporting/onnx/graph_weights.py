"""The weights of a graph as integers: the file's own where a tensor is on a grid of them.

Surprise: on x86 without VNNI the fast kernel adds two products of 8 x 8 bits in 16, and clips the
sum silently. That cannot happen where |w| <= 64, or where the activations have 7 bits. So a matrix
that is rounded here gets 7 bits; one whose own integers are wider becomes uint8 around 128, whose
kernel is right and slower; and convolutions keep 8 bits, their inputs get 7 (static.py).
Measured: ResNet-20 loses 0.0 points so, 0.2 with 7-bit weights, and 1.7 where sums clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
_KINDS: Final = {"Conv": "conv", "Gather": "gather"}  # of operators; others are products


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
    found: list[GraphWeight] = []
    left: dict[str, list[str]] = {}
    for use in _uses(graph):
        if isinstance(use, GraphWeight):
            found.append(use)
        else:
            left.setdefault(use.operator, []).append(use.name)
    for weight in _of_two_axes(found):
        left.setdefault(weight.node.op_type, []).append(weight.name)
    odd = {name for names in left.values() for name in names}
    notes = [
        f"{_listed(names)}: stays float ({op} has no form in integers here)"
        for op, names in left.items()
    ]
    return [weight for weight in found if weight.name not in odd], notes


def _of_two_axes(found: list[GraphWeight]) -> list[GraphWeight]:
    """Uses of constants whose outputs lie on one axis here, and on another there."""
    axes: dict[str, set[int]] = {}
    for weight in found:
        axes.setdefault(weight.name, set()).add(weight.axis)
    return [weight for weight in found if len(axes[weight.name]) > 1]


@dataclass(frozen=True)
class _FloatUse:
    """A constant that a node takes as no integers can stand for it."""

    name: str
    operator: str


def _uses(graph: GraphProto) -> Iterator[GraphWeight | _FloatUse]:
    """What the nodes of a graph do with its matrices and kernels, in the graph's order."""
    constants = {name: values for name, values in arrays(graph).items() if _saves(values)}
    turned = _turned(graph, constants)
    for node in graph.node:
        if node.output[0] in turned:
            continue
        for index, taken in enumerate(node.input):
            name = turned.get(taken, taken)
            if name not in constants:
                continue
            axis = _rows(node, index, constants[name].ndim)
            if axis is None:
                yield _FloatUse(name, node.op_type)
            else:
                axis = axis if taken == name else 1 - axis
                kind = _KINDS.get(node.op_type, "matmul")
                yield GraphWeight(name=name, node=node, kind=kind, axis=axis, taken=taken)


def _saves(values: np.ndarray) -> bool:
    """Whether a constant is a matrix or a kernel that is worth its scales."""
    return values.dtype == np.float32 and values.ndim >= 2 and values.size >= LEAST


def _turned(graph: GraphProto, constants: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Matrices that a Transpose makes of a constant, for products alone; the constants' names."""
    takers, outputs = consumers(graph), {output.name for output in graph.output}
    found = {}
    for node in graph.node:
        name = node.output[0]
        if not _transposes(node, constants) or name in outputs:
            continue
        if all(_multiplies_by(one, name) for one in takers.get(name, [])):
            found[name] = node.input[0]
    return found


def _transposes(node: NodeProto, constants: Mapping[str, np.ndarray]) -> bool:
    """Whether a node gives one of the constants, a matrix, transposed."""
    if node.op_type != "Transpose" or node.input[0] not in constants:
        return False
    order = [list(attribute.ints) for attribute in node.attribute]
    return constants[node.input[0]].ndim == 2 and order in ([], [[1, 0]])


def _multiplies_by(node: NodeProto, name: str) -> bool:
    """Whether a node takes a value as the matrix of a product, and as nothing else."""
    return node.op_type in ("MatMul", "Gemm") and name not in (node.input[0], *node.input[2:])


def _listed(names: list[str]) -> str:
    """The first of them, each once."""
    single = list(dict.fromkeys(names))
    more = f" and {len(single) - 3} more" if len(single) > 3 else ""
    return ", ".join(single[:3]) + more


def _rows(node: NodeProto, index: int, axes: int) -> int | None:
    """The axis of a constant's outputs as input `index` of a node; None where it has no part."""
    match node.op_type, index:
        case "Conv", 1:
            return 0
        case "MatMul", 1:
            return 1 if axes == 2 else None
        case "Gemm", 1:
            return _gemm_rows(node)
        case "Gather", 0:
            return _gather_rows(node) if axes == 2 else None
    return None


def _gemm_rows(node: NodeProto) -> int | None:
    """The axis of a Gemm's outputs; None where it does more than multiply and add."""
    given = {attribute.name: attribute for attribute in node.attribute}
    turned = {name for name in ("transA", "transB") if name in given and given[name].i}
    if "transA" in turned or any(given[n].f != 1.0 for n in ("alpha", "beta") if n in given):
        return None
    return 0 if "transB" in turned else 1


def _gather_rows(node: NodeProto) -> int | None:
    """The axis along which a table is looked up, if it is the first one."""
    along = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    return 0 if along in ([], [0]) else None


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
