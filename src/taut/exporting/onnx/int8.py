"""Integers of 8 bits for the weights of a graph, and for its activations where they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.exporting.onnx.dynamic import insert_dynamic, insert_rows, insert_stored
from taut.exporting.onnx.graph import arrays, describe_no_more
from taut.exporting.onnx.graph_weights import GraphWeight, Stored, find_weights, stored
from taut.exporting.onnx.onnx_form import OnnxForm, Placed, count_floats
from taut.exporting.onnx.static import insert_static

if TYPE_CHECKING:
    from onnx import ModelProto


def to_int8(model: ModelProto, form: OnnxForm, batches: Sequence[object]) -> Placed:
    """Put integers for the weights of a graph; `batches` calibrate static activations.

    Raises:
        ArgumentError: there is no weight to put, or the batches are not the graph's.
    """
    graph = model.graph
    found, left = find_weights(graph)
    if not found:
        raise ArgumentError("the graph has no weights that integers can stand for; give float16")
    describe_no_more(graph, [one.taken for one in found])
    constants = arrays(graph)
    floats = count_floats(constants)
    narrow = {one.name for one in found if one.kind == "matmul" and form.activations != "none"}
    integers = {
        one.name: stored(constants[one.name], one.axis, narrow=one.name in narrow) for one in found
    }
    if form.activations == "static":
        insert_static(model, found, integers, batches, form.ranges)
        notes = []
    else:
        notes = _insert(model, found, integers, dynamic=form.activations == "dynamic")
    insert_rows(graph, found, integers)
    rounded = sum(not one.exact for one in integers.values())
    return Placed(floats - rounded, rounded, (*left, *notes))


def _insert(
    model: ModelProto, found: list[GraphWeight], integers: Mapping[str, Stored], *, dynamic: bool
) -> list[str]:
    """Put the integers of weights whose activations stay float in the file; gives notes."""
    if not dynamic:
        insert_stored(model.graph, found, integers)
        return []
    insert_dynamic(model.graph, found, integers)
    convolutions = [weight for weight in found if weight.kind == "conv"]
    insert_stored(model.graph, convolutions, integers)
    slow = "convolutions multiply floats: only static activations run them faster"
    return [slow] if convolutions else []
