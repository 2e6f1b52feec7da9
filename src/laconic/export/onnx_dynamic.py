"""Integer weights whose activations stay float in the file: rounded as they come, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from laconic.export.onnx_graph import put, set_nodes
from laconic.export.onnx_packages import need
from laconic.export.onnx_weights import Stored, Weight

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def insert_dynamic(
    graph: GraphProto, weights: list[Weight], integers: Mapping[str, Stored]
) -> None:
    """Multiply by integers what is rounded at run time, a range a batch (MatMul and Gemm)."""
    helper = need("onnx.helper")
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind == "matmul"}
    nodes: list[NodeProto] = []
    rounded: set[str] = set()
    for node in graph.node:
        weight = layers.get(node.output[0])
        if weight is None:
            nodes.append(node)
            continue
        x, out = node.input[0], node.output[0]
        if x not in rounded:
            rounded.add(x)
            given = [f"{x}_integers", f"{x}_scale", f"{x}_zero_point"]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], given))
        found = integers[weight.name]
        values, zero = found.safe
        values = values if weight.axis == 1 else np.ascontiguousarray(values.T)
        name = weight.name if weight.axis == 1 else f"{weight.name}_transposed"
        put(graph, name, values)
        put(graph, f"{name}_scale", found.scales)
        put(graph, f"{name}_zero_point", np.full(found.scales.shape, zero, values.dtype))
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        product = f"{out}_product" if bias else out
        terms = [f"{x}_integers", name, f"{x}_zero_point", f"{name}_zero_point"]
        nodes.extend(
            [
                helper.make_node("MatMulInteger", terms, [f"{out}_product_integers"]),
                helper.make_node(
                    "Cast", [f"{out}_product_integers"], [f"{out}_product_cast"], to=1
                ),
                helper.make_node("Mul", [f"{x}_scale", f"{name}_scale"], [f"{out}_product_scale"]),
                helper.make_node("Mul", [f"{out}_product_cast", f"{out}_product_scale"], [product]),
            ]
        )
        if bias:
            nodes.append(helper.make_node("Add", [product, bias], [out]))
    set_nodes(graph, nodes)


def insert_stored(graph: GraphProto, weights: list[Weight], integers: Mapping[str, Stored]) -> None:
    """Keep weights as integers that a runtime turns into floats before it multiplies."""
    helper = need("onnx.helper")
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind != "gather"}
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in graph.node:
        if (weight := layers.get(node.output[0])) is not None:
            name, found = weight.name, integers[weight.name]
            if name not in done:
                done.add(name)
                put(graph, name, found.values)
                put(graph, f"{name}_scale", found.scales)
                given = [name, f"{name}_scale"]
                made = [f"{name}_floats"]
                nodes.append(helper.make_node("DequantizeLinear", given, made, axis=weight.axis))
            node.input[1] = f"{name}_floats"
        nodes.append(node)
    set_nodes(graph, nodes)


def insert_rows(graph: GraphProto, weights: list[Weight], integers: Mapping[str, Stored]) -> None:
    """Look up rows of integers and their scales, and multiply what was found."""
    helper = need("onnx.helper")
    tables = {weight.node.output[0]: weight for weight in weights if weight.kind == "gather"}
    nodes: list[NodeProto] = []
    for node in graph.node:
        weight = tables.get(node.output[0])
        if weight is None:
            nodes.append(node)
            continue
        name, found, out, rows = weight.name, integers[weight.name], node.output[0], node.input[1]
        put(graph, name, found.values)
        scales = put(graph, f"{name}_row_scale", found.scales.reshape(-1, 1))
        nodes.extend(
            [
                helper.make_node("Gather", [name, rows], [f"{out}_row_integers"]),
                helper.make_node("Gather", [scales, rows], [f"{out}_row_scale"]),
                helper.make_node("Cast", [f"{out}_row_integers"], [f"{out}_row_cast"], to=1),
                helper.make_node("Mul", [f"{out}_row_cast", f"{out}_row_scale"], [out]),
            ]
        )
    set_nodes(graph, nodes)
