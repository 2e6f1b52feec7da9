"""Weights that a graph cuts and joins before it takes them, done beforehand.

Exporters write the gates of an LSTM in their own order and let the graph reorder them: slices of a
constant, joined again. A runtime does so once, when it loads; here the result becomes a constant.
So does the shape of a weight, which integers that stand for it need not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from taut.exporting.onnx.bodies import graphs, nodes, rewrite, take_other
from taut.exporting.onnx.graph import mark_of
from taut.exporting.onnx.graph_weights import LEAST
from taut.exporting.onnx.node_forms import attributes
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_CUTS: Final = (
    "Slice",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Flatten",
    "Split",
    "Shape",
    "Size",
)
_PASSES: Final = ("Identity", "Cast", "Transpose")  # left in the graph where no cut comes before
_LISTS: Final = {
    "value_ints": "ints",
    "value_int": "i",
    "value_floats": "floats",
    "value_float": "f",
}


def join_cut_constants(model: ModelProto) -> None:
    """Make constants of what a graph cuts out of weights; names have to mean one value each."""
    graph = model.graph
    known = _constants(graph)
    kept = {output.name for one in graphs(graph) for output in one.output}
    made: dict[str, np.ndarray] = {}
    for node in nodes(graph):
        if not _is_cut(node, known, made) or kept.intersection(node.output):
            continue
        values = dict(zip(node.output, _run(model, node, known), strict=True))
        known |= values
        if node.op_type in _CUTS or any(name in made for name in node.input):
            made |= values
    _replace(graph, made)


def _constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """All that is known beforehand, numbers that stand in attributes too."""
    to_array = need("onnx.numpy_helper").to_array
    found = {t.name: to_array(t) for one in graphs(graph) for t in one.initializer}
    for node in nodes(graph):
        if node.op_type != "Constant":
            continue
        for name, attribute in attributes(node).items():
            if name == "value":
                found[node.output[0]] = to_array(attribute.t)
            elif name in _LISTS:
                kind = np.int64 if "int" in name else np.float32
                found[node.output[0]] = np.array(getattr(attribute, _LISTS[name]), kind)
    return found


def _is_cut(node: NodeProto, known: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> bool:
    """Whether a node makes something of known values alone, a weight's among them."""
    if node.op_type not in (*_CUTS, *_PASSES) or node.domain:
        return False
    if not all(name in known for name in node.input if name):
        return False
    given = [known[name] for name in node.input if name]
    return any(values.dtype.kind == "f" and values.size >= LEAST for values in given)


def _run(model: ModelProto, node: NodeProto, known: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What a node gives."""
    onnx = need("onnx")
    names = list(dict.fromkeys(name for name in node.input if name))
    inputs = [onnx.helper.make_tensor_value_info(
        name, onnx.helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape)
        for name in names]  # fmt: skip
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([node], "part", inputs, outputs),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    run = need("onnx.reference").ReferenceEvaluator(alone)
    found: list[np.ndarray] = run.run(None, {name: known[name] for name in names})
    return found


def _replace(graph: GraphProto, made: dict[str, np.ndarray]) -> None:
    """Put constants for what was made, as far as something takes them, and drop the nodes.

    What two bodies cut alike is there once.
    """
    rewrite(graph, lambda node: [] if made.keys() & set(node.output) else [node])
    taken = {name for node in nodes(graph) for name in node.input}
    from_array = need("onnx.numpy_helper").from_array
    first: dict[tuple[str, bytes], str] = {}
    other: dict[str, str] = {}
    for name, values in made.items():
        if name not in taken:
            continue
        same = name  # of whole numbers a mark, which is of floats, could take two for one
        if values.dtype.kind == "f":
            same = first.setdefault((str(values.dtype), mark_of(values)), name)
        if same != name:
            other[name] = same
        else:
            graph.initializer.append(from_array(np.asarray(values, order="C"), name))
    for node in graph.node:
        take_other(node, other)
