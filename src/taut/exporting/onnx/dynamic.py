"""Integer weights whose activations stay float in the file: rounded as they come, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.graph import arrays, put, set_nodes
from taut.exporting.onnx.graph_weights import GraphWeight, Stored
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def insert_dynamic(
    graph: GraphProto, weights: list[GraphWeight], integers: Mapping[str, Stored]
) -> None:
    """Multiply by integers what is rounded at run time, a range a batch (MatMul and Gemm)."""
    helper = need("onnx.helper")
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind == "matmul"}
    tables = {weight.name for weight in weights if weight.kind == "gather"}
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
        found, name = integers[weight.name], weight.taken
        values, zero = found.safe
        if weight.rows == 0 and weight.name in tables:  # whose integers are there once
            name, turned = f"{name}_transposed", name
            if turned not in rounded:
                rounded.add(turned)
                nodes.append(helper.make_node("Transpose", [turned], [name], perm=[1, 0]))
            put(graph, weight.name, values)
        elif weight.rows == 0:
            name = f"{name}_transposed"
            put(graph, name, np.ascontiguousarray(values.T))
        else:
            put(graph, weight.name, values)
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


def insert_stored(
    graph: GraphProto, weights: list[GraphWeight], integers: Mapping[str, Stored]
) -> None:
    """Keep weights as integers that a runtime turns into floats before it multiplies."""
    helper = need("onnx.helper")
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind != "gather"}
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in graph.node:
        if (weight := layers.get(node.output[0])) is not None:
            name, found = weight.taken, integers[weight.name]
            if name not in done:
                done.add(name)
                put(graph, weight.name, found.values)
                put(graph, f"{name}_scale", found.scales)
                given = [name, f"{name}_scale"]
                made = [f"{name}_floats"]
                nodes.append(helper.make_node("DequantizeLinear", given, made, axis=weight.rows))
            node.input[1] = f"{name}_floats"
        nodes.append(node)
    set_nodes(graph, nodes)


def insert_rows(
    graph: GraphProto, weights: list[GraphWeight], integers: Mapping[str, Stored]
) -> None:
    """Look up rows of integers and their scales, and multiply what was found.

    The integers of a table that a product takes too are in the graph already: int8, or uint8
    around 128.
    """
    helper = need("onnx.helper")
    constants = arrays(graph)
    tables = {weight.node.output[0]: weight for weight in weights if weight.kind == "gather"}
    nodes: list[NodeProto] = []
    for node in graph.node:
        weight = tables.get(node.output[0])
        if weight is None:
            nodes.append(node)
            continue
        name, found, out, rows = weight.name, integers[weight.name], node.output[0], node.input[1]
        held, cast = constants[name].dtype, f"{out}_row_cast"
        if held == np.float32:
            put(graph, name, found.values)
        scales = put(graph, f"{name}_row_scale", found.scales.reshape(-1, 1))
        nodes.extend(
            [
                helper.make_node("Gather", [name, rows], [f"{out}_row_integers"]),
                helper.make_node("Gather", [scales, rows], [f"{out}_row_scale"]),
                helper.make_node("Cast", [f"{out}_row_integers"], [cast], to=1),
            ]
        )
        if held == np.uint8:
            zero = put(graph, f"{name}_row_zero_point", np.array(128, np.float32))
            nodes.append(helper.make_node("Sub", [cast, zero], [f"{cast}_centred"]))
            cast = f"{cast}_centred"
        nodes.append(helper.make_node("Mul", [cast, f"{out}_row_scale"], [out]))
    set_nodes(graph, nodes)
