"""Integer weights whose activations stay float in the file: rounded as they come, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.graph import arrays, bias_of, put, set_nodes
from taut.exporting.onnx.graph_weights import GraphWeight, Stored
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def insert_dynamic(
    graph: GraphProto, weights: list[GraphWeight], integers: Mapping[str, Stored]
) -> None:
    """Multiply by integers what is rounded at run time, a range a batch (MatMul and Gemm)."""
    layers = {weight.node.output[0]: weight for weight in weights if weight.kind == "matmul"}
    tables = {weight.name for weight in weights if weight.kind == "gather"}
    nodes: list[NodeProto] = []
    done: set[str] = set()  # outputs of nodes that several products share
    for node in graph.node:
        weight = layers.get(node.output[0])
        if weight is None:
            nodes.append(node)
            continue
        found = integers[weight.name]
        name, turn = _put_matrix(graph, weight, found, shared=weight.name in tables)
        for made in (_round_input(node), *turn):
            if made.output[0] not in done:
                done.add(made.output[0])
                nodes.append(made)
        nodes.extend(_product(node, name))
    set_nodes(graph, nodes)


def _round_input(node: NodeProto) -> NodeProto:
    """The node that rounds what a product takes, when it runs."""
    x = node.input[0]
    given = [f"{x}_integers", f"{x}_scale", f"{x}_zero_point"]
    made: NodeProto = need("onnx.helper").make_node("DynamicQuantizeLinear", [x], given)
    return made


def _put_matrix(
    graph: GraphProto, weight: GraphWeight, found: Stored, *, shared: bool
) -> tuple[str, list[NodeProto]]:
    """Put a weight's integers, its outputs last; their name, and the node that turns them.

    Those of a table that is looked up too (`shared`) are there once, and are turned at run time.
    """
    values, zero = found.safe
    turn: list[NodeProto] = []
    if weight.rows == 0 and not shared:
        name = put(graph, f"{weight.taken}_transposed", np.ascontiguousarray(values.T))
    elif weight.rows == 0:
        put(graph, weight.name, values)
        name = f"{weight.taken}_transposed"
        make = need("onnx.helper").make_node
        turn.append(make("Transpose", [weight.taken], [name], perm=[1, 0]))
    else:
        put(graph, weight.name, values)
        name = weight.taken
    put(graph, f"{name}_scale", found.scales)
    put(graph, f"{name}_zero_point", np.full(found.scales.shape, zero, values.dtype))
    return name, turn


def _product(node: NodeProto, name: str) -> list[NodeProto]:
    """The nodes that multiply by the integers of `name`, in place of `node`."""
    make = need("onnx.helper").make_node
    x, out, bias = node.input[0], node.output[0], bias_of(node)
    product = f"{out}_product" if bias else out
    terms = [f"{x}_integers", name, f"{x}_zero_point", f"{name}_zero_point"]
    found = [
        make("MatMulInteger", terms, [f"{out}_product_integers"]),
        make("Cast", [f"{out}_product_integers"], [f"{out}_product_cast"], to=1),
        make("Mul", [f"{x}_scale", f"{name}_scale"], [f"{out}_product_scale"]),
        make("Mul", [f"{out}_product_cast", f"{out}_product_scale"], [product]),
    ]
    return [*found, make("Add", [product, bias], [out])] if bias else found


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
