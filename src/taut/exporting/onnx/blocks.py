"""Weights of 4 bits, a scale a block: MatMulNBits, which onnxruntime multiplies by directly.

The operator is onnxruntime's own (com.microsoft). Only products with a matrix have it; tables that
are looked up are stored as int8, and convolutions stay float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.exporting.integers import Integers, to_integers
from taut.exporting.onnx.dynamic import insert_rows
from taut.exporting.onnx.graph import arrays, bias_of, put, set_nodes
from taut.exporting.onnx.graph_weights import GraphWeight, find_weights, stored
from taut.exporting.onnx.onnx_form import OnnxForm, Placed, count_floats
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def to_blocks(model: ModelProto, form: OnnxForm) -> Placed:
    """Put blocks of 4 bits for the matrices of a graph, `form.group_size` values each.

    Raises:
        ArgumentError: there is no matrix whose rows are whole groups.
    """
    graph = model.graph
    found, left = find_weights(graph)
    constants = arrays(graph)
    floats = count_floats(constants)
    matrices, odd = _cut(found, constants, form)
    if not matrices:
        raise ArgumentError(
            f"int4: no matrix of the graph has rows of whole groups of {form.group_size}; give a "
            'smaller group_size, or weights="int8"'
        )
    _insert(graph, found, matrices, form.group_size)
    tables = _tables(found, matrices)
    integers = {one.name: stored(constants[one.name], one.axis, narrow=False) for one in tables}
    insert_rows(graph, tables, integers)
    _use_domain(model)
    rounded = len({n for kept in (matrices, integers) for n, one in kept.items() if not one.exact})
    notes = (*left, *_staying_float(found, odd, form.group_size))
    return Placed(floats - rounded, rounded, notes)


def _cut(
    found: list[GraphWeight], constants: Mapping[str, np.ndarray], form: OnnxForm
) -> tuple[dict[str, Integers], list[str]]:
    """Integers of the matrices whose rows are whole groups, and which others there are."""
    size, asymmetric = form.group_size, form.asymmetric
    matrices: dict[str, Integers] = {}
    odd: list[str] = []
    for weight in (weight for weight in found if weight.kind == "matmul"):
        rows = np.moveaxis(constants[weight.name], weight.axis, 0)
        if rows.shape[1] % size:
            odd.append(f"{weight.name} ({rows.shape[1]})")
        else:
            rows = np.ascontiguousarray(rows)
            matrices[weight.name] = to_integers(rows, 4, group=size, asymmetric=asymmetric)
    return matrices, odd


def _tables(found: list[GraphWeight], matrices: Mapping[str, Integers]) -> list[GraphWeight]:
    """Tables that are looked up, but for those that a product takes as floats."""
    floating = {one.name for one in found if one.kind == "matmul"} - matrices.keys()
    return [one for one in found if one.kind == "gather" and one.name not in floating]


def _staying_float(found: list[GraphWeight], odd: list[str], group_size: int) -> list[str]:
    """Notes on weights that have no form of 4 bits."""
    notes = []
    if odd:
        notes.append(f"rows are no whole groups of {group_size}, stay float: {', '.join(odd)}")
    if convolutions := [weight.name for weight in found if weight.kind == "conv"]:
        notes.append(f"convolutions have no form of 4 bits, stay float: {', '.join(convolutions)}")
    return notes


def packed(found: Integers) -> NDArray[np.uint8]:
    """Integers as MatMulNBits stores them: uint8 (rows, blocks, bytes), the even column low.

    Symmetric integers are shifted by 8, the zero point that the operator supposes.
    """
    rows, blocks = found.scales.shape
    q = found.values.reshape(rows, blocks, -1) + (8 if found.zeros is None else 0)
    made: NDArray[np.uint8] = (q[..., 0::2] | (q[..., 1::2] << 4)).astype(np.uint8)
    return made


def packed_zeros(zeros: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Zero points, two in a byte, uint8 (rows * bytes of a row)."""
    even = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    made: NDArray[np.uint8] = (even[:, 0::2] | (even[:, 1::2] << 4)).astype(np.uint8)
    return made.reshape(-1)


def _insert(
    graph: GraphProto, found: list[GraphWeight], matrices: Mapping[str, Integers], group_size: int
) -> None:
    """Put the products with integers for those with floats, and take out what only these need."""
    taken = [one for one in found if one.name in matrices]
    layers = {one.node.output[0]: one for one in taken if one.kind == "matmul"}
    names = _names(taken)
    turned = {one.taken for one in taken if one.taken != one.name}
    nodes: list[NodeProto] = []
    for node in graph.node:
        out = node.output[0]
        if out in layers:
            weight = layers[out].name
            nodes.extend(_product(graph, node, names[weight], matrices[weight], group_size))
        elif out not in turned:
            nodes.append(node)
    set_nodes(graph, nodes)


def _names(weights: list[GraphWeight]) -> dict[str, str]:
    """What blocks are called: as the weight, whose name the rows have of a table looked up too."""
    tables = {one.name for one in weights if one.kind == "gather"}
    return {one.name: f"{one.name}_blocks" if one.name in tables else one.name for one in weights}


def _product(
    graph: GraphProto, node: NodeProto, name: str, one: Integers, group_size: int
) -> list[NodeProto]:
    """The nodes that multiply by a matrix of integers, in place of `node`."""
    helper, out = need("onnx.helper"), node.output[0]
    given = [
        node.input[0],
        put(graph, name, packed(one)),
        put(graph, f"{name}_scale", one.scales.reshape(-1)),
    ]
    if one.zeros is not None:
        given.append(put(graph, f"{name}_zero_point", packed_zeros(one.zeros)))
    bias = bias_of(node)
    product = f"{out}_product" if bias else out
    rows, columns = one.values.shape
    sizes = {"K": columns, "N": rows, "bits": 4, "block_size": group_size}
    made = [helper.make_node("MatMulNBits", given, [product], domain="com.microsoft", **sizes)]
    return [*made, helper.make_node("Add", [product, bias], [out])] if bias else made


def _use_domain(model: ModelProto) -> None:
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(need("onnx.helper").make_opsetid("com.microsoft", 1))
