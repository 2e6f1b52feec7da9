"""Weights of 4 bits, a scale a block: MatMulNBits, which onnxruntime multiplies by directly.

The operator is onnxruntime's own (com.microsoft). Only products with a matrix have it; tables that
are looked up are stored as int8, and convolutions stay float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.exporting.integers import Integers, to_integers
from taut.exporting.onnx.dynamic import insert_rows
from taut.exporting.onnx.graph import arrays, put, set_nodes
from taut.exporting.onnx.graph_weights import GraphWeight, find_weights, stored
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def to_blocks(
    model: ModelProto, group_size: int, asymmetric: bool, notes: list[str]
) -> tuple[int, int]:
    """Put blocks of 4 bits for the matrices of a graph; how many tensors are exact, and not.

    Raises:
        ArgumentError: there is no matrix whose rows are whole groups.
    """
    graph = model.graph
    found, left = find_weights(graph)
    notes.extend(left)
    constants = arrays(graph)
    floats = len([v for v in constants.values() if v.dtype == np.float32 and v.ndim])
    matrices: dict[str, Integers] = {}
    odd: list[str] = []
    for weight in (weight for weight in found if weight.kind == "matmul"):
        rows = np.moveaxis(constants[weight.name], weight.axis, 0)
        if rows.shape[1] % group_size:
            odd.append(f"{weight.name} ({rows.shape[1]})")
        else:
            rows = np.ascontiguousarray(rows)
            matrices[weight.name] = to_integers(rows, 4, group=group_size, asymmetric=asymmetric)
    if odd:
        notes.append(f"rows are no whole groups of {group_size}, stay float: {', '.join(odd)}")
    if convolutions := [weight.name for weight in found if weight.kind == "conv"]:
        notes.append(f"convolutions have no form of 4 bits, stay float: {', '.join(convolutions)}")
    if not matrices:
        raise ArgumentError(
            f"int4: no matrix of the graph has rows of whole groups of {group_size}; give a "
            'smaller group_size, or weights="int8"'
        )
    _insert(graph, found, matrices, group_size)
    floating = {one.name for one in found if one.kind == "matmul"} - matrices.keys()
    tables = [one for one in found if one.kind == "gather" and one.name not in floating]
    integers = {one.name: stored(constants[one.name], one.axis, narrow=False) for one in tables}
    insert_rows(graph, tables, integers)
    _use_domain(model)
    rounded = len({n for kept in (matrices, integers) for n, one in kept.items() if not one.exact})
    return floats - rounded, rounded


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
    graph: GraphProto, found: list[GraphWeight], matrices: dict[str, Integers], group_size: int
) -> None:
    helper = need("onnx.helper")
    layers = {one.node.output[0]: one for one in found if one.kind == "matmul"}
    tables = {one.name for one in found if one.kind == "gather"}
    turned = {one.taken for one in found if one.taken != one.name and one.name in matrices}
    nodes: list[NodeProto] = []
    for node in graph.node:
        weight = layers.get(node.output[0])
        if weight is None or weight.name not in matrices:
            if node.output[0] not in turned:
                nodes.append(node)
            continue
        one, out = matrices[weight.name], node.output[0]
        name = f"{weight.name}_blocks" if weight.name in tables else weight.name
        given = [
            node.input[0],
            put(graph, name, packed(one)),
            put(graph, f"{name}_scale", one.scales.reshape(-1)),
        ]
        if one.zeros is not None:
            given.append(put(graph, f"{name}_zero_point", packed_zeros(one.zeros)))
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        product = f"{out}_product" if bias else out
        rows, columns = one.values.shape
        sizes = {"K": columns, "N": rows, "bits": 4, "block_size": group_size}
        nodes.append(
            helper.make_node("MatMulNBits", given, [product], domain="com.microsoft", **sizes)
        )
        if bias:
            nodes.append(helper.make_node("Add", [product, bias], [out]))
    set_nodes(graph, nodes)


def _use_domain(model: ModelProto) -> None:
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(need("onnx.helper").make_opsetid("com.microsoft", 1))
