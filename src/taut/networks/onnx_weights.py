"""An ONNX graph without its weights: they are taken out, wherever they lie, and become its inputs.

A weight of a subgraph or of a Constant node leaves an Identity in its place, which gives the input
the name that the weight had there. One in bfloat16, which onnxruntime takes from no array, is fed
as float32, and leaves a Cast. Functions are given their weights as arguments, and inlined.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableSequence, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taut.io.onnx import OnnxSource, Place
from taut.networks.onnx_functions import hand_in, inline, nodes_in
from taut.networks.onnx_inner import at
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

FLOATS: Final = ("F16", "BF16", "F32", "F64")
RECURRENT: Final = ("LSTM", "GRU", "RNN")
OVERRIDABLE: Final = 4
"""The first IR version whose initialisers are no inputs, unless they may be left out of a call."""


def detach(proto: ModelProto, source: OnnxSource) -> dict[str, str]:
    """Make inputs of all weights that may change, and give the inputs' names by the tensors'.

    The others get their values if they lie in other files. The model is changed in place.
    """
    _inline_values(proto, source)
    taken = _names_in(proto)
    fed: dict[str, str] = {}
    values = []
    for name, place in source.places.items():
        if _is_free(proto, source, name):
            main = place[:2] == ("graph", "initializer")
            fed[name] = name if main and not _is_narrow(at(proto, place)) else _fresh(name, taken)
            values.append(_input(proto, source, name, fed[name]))
    _take_out(proto, source.places, fed)
    known = {one.name for one in proto.graph.input}
    proto.graph.input.extend(one for one in values if one.name not in known)
    if proto.ir_version < OVERRIDABLE:  # there initialisers are inputs too that no call can give
        proto.ir_version = OVERRIDABLE
        _drop_inputs(proto.graph, {one.name for one in proto.graph.initializer})
    inline(proto)
    _name_states(proto, taken)
    return fed


def _is_narrow(tensor: TensorProto) -> bool:
    """Whether a tensor is of a type that onnxruntime takes from no array."""
    return bool(tensor.data_type == need("onnx").TensorProto.BFLOAT16)


def _input(proto: ModelProto, source: OnnxSource, name: str, value: str) -> ValueInfoProto:
    tensor, shape = at(proto, source.places[name]), source.entries[name].info.shape
    kind = need("onnx").TensorProto.FLOAT if _is_narrow(tensor) else tensor.data_type
    found: ValueInfoProto = need("onnx").helper.make_tensor_value_info(value, kind, shape)
    return found


def _inline_values(proto: ModelProto, source: OnnxSource) -> None:
    """Put values that lie in files beside the model into the model, but for those to be fed."""
    onnx = need("onnx")
    for name, place in source.places.items():
        if place[-1] in ("floats", "ints"):
            continue
        tensor = at(proto, place)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
            if not _is_free(proto, source, name):
                tensor.raw_data = source.load(name).tobytes()


def _is_free(proto: ModelProto, source: OnnxSource, name: str) -> bool:
    """Whether a tensor may change: an array of floats that no shape hangs on, and no list."""
    info = source.entries[name].info
    if info.dtype not in FLOATS or name in source.fixed or prod(info.shape) < 2:
        return False
    place = source.places[name]
    if place[-2] != "initializer" and (place[-1], place[-3]) != ("t", "attribute"):
        return False  # of a sparse tensor, or a function's default
    if place[:2] == ("graph", "initializer") and name in {one.name for one in proto.graph.output}:
        return False
    return bool(at(proto, place).data_type != need("onnx").TensorProto.COMPLEX128)


def _take_out(proto: ModelProto, places: dict[str, Place], fed: dict[str, str]) -> None:
    """Take the weights out, and leave an Identity for those that are not the main graph's own."""
    held: dict[Place, dict[int, str]] = {}  # by graph the numbers of its initialisers
    given: dict[int, list[str]] = {}
    for name, value in fed.items():
        place = places[name]
        if place[0] == "functions":
            given.setdefault(int(place[1]), []).append(value)
        if place[-2] == "initializer":
            held.setdefault(place[:-2], {})[int(place[-1])] = value
        else:
            _feed_constant(at(proto, place[:-3]), value)
    for place in sorted(held, key=len, reverse=True):  # from within: places are counted anew then
        _feed_graph(at(proto, place), held[place], main=len(place) == 1)
    hand_in(proto, given)


def _feed_constant(node: NodeProto, value: str) -> None:
    tensor = next(one.t for one in node.attribute if one.HasField("t"))
    made = _fed_by(value, tensor, node.output[0])
    node.op_type = made.op_type
    node.ClearField("attribute")
    node.attribute.extend(made.attribute)
    node.ClearField("name")  # several constants may have one
    node.input.append(value)


def _feed_graph(graph: GraphProto, values: Mapping[int, str], *, main: bool) -> None:
    """Take these initialisers out of a graph, and name the values that come in their place."""
    nodes = [
        _fed_by(value, graph.initializer[number], graph.initializer[number].name)
        for number, value in values.items()
        if not main or _is_narrow(graph.initializer[number])
    ]
    if main:  # what could be given has another name and type now
        _drop_inputs(graph, {node.output[0] for node in nodes})
    _replace(graph.initializer, [t for i, t in enumerate(graph.initializer) if i not in values])
    for node in nodes:
        graph.node.insert(0, node)


def _fed_by(value: str, tensor: TensorProto, name: str) -> NodeProto:
    """The node that gives the value that is fed for a tensor the tensor's name."""
    helper = need("onnx").helper
    if _is_narrow(tensor):
        made: NodeProto = helper.make_node("Cast", [value], [name], to=tensor.data_type)
        return made
    made = helper.make_node("Identity", [value], [name])
    return made


def _replace(repeated: MutableSequence[Any], messages: Sequence[Any]) -> None:
    """Put these messages, some of which are its own, in place of all."""
    copies = [type(one).FromString(one.SerializeToString()) for one in messages]
    del repeated[:]
    repeated.extend(copies)


def _drop_inputs(graph: GraphProto, names: Collection[str]) -> None:
    _replace(graph.input, [one for one in graph.input if one.name not in names])


def _name_states(proto: ModelProto, taken: set[str]) -> None:
    """Name all states of recurrent layers, also where the graph has no use for them."""
    for node in nodes_in(proto.graph.node):
        recurrent = node.op_type in RECURRENT and node.domain in ("", "ai.onnx")
        if recurrent and not node.output[0]:
            node.output[0] = _fresh(f"{node.op_type} states", taken)


def _names_in(proto: ModelProto) -> set[str]:
    """All names of values, in every scope."""
    graphs = [proto.graph, *proto.functions]
    names = {one.name for one in (*proto.graph.input, *proto.graph.initializer)}
    for graph in graphs:
        for node in nodes_in(graph.node):
            names.update(node.input, node.output)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    names.update(one.name for one in (*inner.input, *inner.initializer))
    return names


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or the first of its like, that no value has; it is taken then."""
    number, found = 0, f"{name}.fed"
    while found in taken:
        number += 1
        found = f"{name}.fed{number}"
    taken.add(found)
    return found


def dtypes_of(proto: ModelProto, fed: dict[str, str]) -> dict[str, np.dtype]:
    """The dtypes in which the graph takes its weights, by the tensors' names."""
    onnx = need("onnx")
    kinds = {one.name: one.type.tensor_type.elem_type for one in proto.graph.input}
    return {name: onnx.helper.tensor_dtype_to_np_dtype(kinds[value]) for name, value in fed.items()}
