"""A traced graph made legible: outputs and axes have names, and nothing tells of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from taut.exporting.onnx.fresh_names import FreshNames
from taut.exporting.onnx.graph import rename

if TYPE_CHECKING:
    import onnx
    from onnx import GraphProto


def output_names(outputs: object) -> tuple[list[str], str]:
    """Names of a module's outputs in order, and how they hang together: tensor, tuple or dict.

    There are no names where the answer holds something else than tensors.
    """
    if _all_tensors([outputs]):
        return ["output"], "tensor"
    if isinstance(outputs, Mapping):
        given = {str(name): value for name, value in outputs.items() if value is not None}
        return list(given) if _all_tensors(given.values()) else [], "dict"
    if isinstance(outputs, tuple | list) and _all_tensors(outputs):
        return [f"output_{i}" for i in range(len(outputs))], "tuple"
    return [], "tuple"


def _all_tensors(values: Iterable[object]) -> bool:
    import torch

    return all(isinstance(value, torch.Tensor) for value in values)


def clean(model: onnx.ModelProto) -> None:
    """Drop what tells of the machine that exported: source lines, notes of passes."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give outputs the names of the module's answer, where each has one."""
    graph = model.graph
    held = [output.name for output in graph.output]
    if not _can_name(graph, held, names):
        return
    fresh = FreshNames(graph).fresh
    for name in names:  # a value inside that has the name already
        made = any(name in node.output for node in graph.node)
        if made and name not in held:
            rename(graph, name, fresh(f"{name}_inner"))
    between = [fresh(name) for name in held]
    for name, other in zip(held, between, strict=True):
        rename(graph, name, other)
    for other, new in zip(between, names, strict=True):
        rename(graph, other, new)


def _can_name(graph: GraphProto, held: Sequence[str], names: Sequence[str]) -> bool:
    """Whether there is a name an output, and none is that of an input or of a constant."""
    taken = {part.name for part in (*graph.input, *graph.initializer)}
    whole = len(names) == len(held) == len(set(held))
    return whole and not taken & {*held, *names}


def name_axes(model: onnx.ModelProto) -> None:
    """Call the first axis of the inputs "batch", and an open second one "sequence"."""
    graph = model.graph
    known: dict[str, str] = {}
    for entry in graph.input:
        for axis, dim in enumerate(entry.type.tensor_type.shape.dim):
            if dim.dim_param and dim.dim_param not in known and axis < 2:
                known[dim.dim_param] = ("batch", "sequence")[axis]
    for entry in (*graph.input, *graph.output, *graph.value_info):
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param in known:
                dim.dim_param = known[dim.dim_param]
