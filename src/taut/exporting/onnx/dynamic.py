"""Integer weights whose activations stay float in the file: rounded as they come, or not at all.

Products are onnxruntime's DynamicQuantizeMatMul (com.microsoft), which rounds what it takes when it
runs: onnxruntime multiplies integers then, and OpenVINO keeps the matrix in 8 bits. Written as
DynamicQuantizeLinear and MatMulInteger the same product is slower than floats in OpenVINO. All
other weights are made floats by Cast and Mul, which onnxruntime does once, when it loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from taut.exporting.onnx.bodies import key_of, rewrite
from taut.exporting.onnx.graph_weights import GraphWeight
from taut.exporting.onnx.held_integers import HeldIntegers
from taut.exporting.onnx.open_graph import MICROSOFT, OpenGraph
from taut.exporting.onnx.products import MatrixProduct

if TYPE_CHECKING:
    from onnx import NodeProto

Way = Callable[[OpenGraph, HeldIntegers, GraphWeight, "NodeProto"], "list[NodeProto]"]
"""How a use of a weight becomes integers: the nodes that come in place of its node."""


def turned_for_product(weight: GraphWeight) -> bool:
    """Whether a product takes a constant transposed: its outputs have to come last."""
    return weight.axis == 0


def dynamic_product(
    graph: OpenGraph, held: HeldIntegers, weight: GraphWeight, node: NodeProto
) -> list[NodeProto]:
    """The nodes that multiply by integers what is rounded at run time, a range a call."""
    graph.use_domain()
    product = MatrixProduct(graph, node)
    name, turn = held.values(weight, turned=turned_for_product(weight))
    terms = [product.x, name, held.scales(weight), held.zeros(weight)]
    if vector := product.vector(len(held.found(weight).flat_scales)):
        terms.append(vector)
    wanted = f"{node.output[0]}_product"
    made = graph.make("DynamicQuantizeMatMul", terms, wanted, domain=MICROSOFT)
    return [*product.before, *turn, *product.after(made)]


def stored_weight(
    graph: OpenGraph, held: HeldIntegers, weight: GraphWeight, node: NodeProto
) -> list[NodeProto]:
    """The nodes that make floats of a weight's integers, which the node takes then."""
    name, turn = held.values(weight, turned=weight.turned)
    made, wide = [*turn], _widened(graph, held, weight, name)
    made += wide
    scales = held.found(weight).scales
    factors = held.once("factors", weight, scales) if not weight.turned else held.once(
        "factors_turned", weight, scales.T)  # fmt: skip
    made.append(graph.make("Mul", [wide[-1].output[0], factors], f"{name}_floats"))
    node.input[weight.index] = made[-1].output[0]
    return made


def looked_up_rows(
    graph: OpenGraph, held: HeldIntegers, weight: GraphWeight, node: NodeProto
) -> list[NodeProto]:
    """The nodes that look up rows of integers and their scales, and multiply what was found."""
    name, _ = held.values(weight, turned=False)
    rows, out = node.input[1], node.output[0]
    scales = held.once("row_scale", weight, held.found(weight).scales)
    taken = graph.make("Gather", [name, rows], f"{out}_row_integers")
    factors = graph.make("Gather", [scales, rows], f"{out}_row_scale")
    wide = _widened(graph, held, weight, taken.output[0])
    made = graph.make("Mul", [wide[-1].output[0], factors.output[0]], out)
    made.output[0] = out
    return [taken, factors, *wide, made]


def _widened(
    graph: OpenGraph, held: HeldIntegers, weight: GraphWeight, name: str
) -> list[NodeProto]:
    """Nodes that make float32 of integers, their zero at zero."""
    found = [graph.make("Cast", [name], f"{name}_cast", to=1)]
    if zero := held.zero(weight):
        centre = held.once("centre", weight, np.array(zero, np.float32))
        found.append(graph.make("Sub", [found[0].output[0], centre], f"{name}_centred"))
    return found


def put_integers(graph: OpenGraph, held: HeldIntegers, uses: list[tuple[GraphWeight, Way]]) -> None:
    """Put in place of each node that uses weights the nodes that its ways make of it."""
    by_node: dict[str, list[tuple[GraphWeight, Way]]] = {}
    for weight, way in uses:
        by_node.setdefault(weight.key, []).append((weight, way))

    def made(node: NodeProto) -> list[NodeProto]:
        found: list[NodeProto] = []
        whole = True
        for weight, way in by_node.get(key_of(node), ()):
            found += way(graph, held, weight, node)
            whole &= way is stored_weight  # the node itself goes on, and takes floats
        return [*found, node] if whole else found

    rewrite(graph.graph, made)
