"""A graph made ready for other numbers: as few ways to say a thing as can be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.exporting.onnx.graph_weights import listed
from taut.exporting.onnx.onnx_form import OnnxForm
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_OPSET, _IR = 13, 8  # of ONNX: the first with a scale a row
_OVERRIDABLE: Final = 4  # the first IR version whose constants need not be inputs


def prepared(model: ModelProto, form: OnnxForm) -> tuple[ModelProto, list[str]]:
    """The graph with its functions in place and no constant among its inputs, and notes.

    Static activations take opset 13, to which older graphs are converted.

    Raises:
        ArgumentError: it cannot be converted.
    """
    if model.functions:
        model = need("onnx.inliner").inline_local_functions(model)
    version = max((one.version for one in model.opset_import if not one.domain), default=0)
    notes = _without_constants(model)
    model.ir_version = max(model.ir_version, _IR)
    if form.calibrated and version < _OPSET:
        model = _converted(model, version)
    return model, notes


def _without_constants(model: ModelProto) -> list[str]:
    """Take constants from among the inputs; a note on those that a call could give."""
    both = _drop_constant_inputs(model.graph)
    if both and model.ir_version >= _OVERRIDABLE:
        return [f"{listed(both)}: could be given as inputs, and are constants now"]
    return []


def _drop_constant_inputs(graph: GraphProto) -> list[str]:
    """Take constants from among a graph's inputs; their names."""
    held = {tensor.name for tensor in graph.initializer}
    both = [one.name for one in graph.input if one.name in held]
    inputs = [one for one in graph.input if one.name not in held]
    del graph.input[:]
    graph.input.extend(inputs)
    return both


def _converted(model: ModelProto, version: int) -> ModelProto:
    try:
        found: ModelProto = need("onnx.version_converter").convert_version(model, _OPSET)
    except Exception as error:  # the converter's own kinds
        line = str(error).strip().partition("\n")[0]
        raise ArgumentError(
            f"the graph has opset {version}, static activations take {_OPSET}, and onnx cannot "
            f'convert it ({line}); give activations="dynamic" (--activations dynamic), or export '
            "the model anew with a later opset"
        ) from error
    return found


def fitting_batches(graph: GraphProto, batches: list[object]) -> tuple[list[object], list[str]]:
    """The batches whose samples are as many as the graph takes where it fixes that, and a note.

    Raises:
        ArgumentError: none is such a one.
    """
    fixed = _first_axes(graph)
    order = list(fixed)
    kept = [batch for batch in batches if _fits(batch, order, fixed)]
    if len(kept) == len(batches):
        return kept, []
    sizes = ", ".join(f'"{name}" {size}' for name, size in fixed.items() if size)
    if not kept:
        raise ArgumentError(
            f"calibration: no batch has as many samples as the graph takes ({sizes}); give batches "
            "of that size"
        )
    left = len(batches) - len(kept)
    return kept, [f"{left} of {len(batches)} batches left out: the graph takes {sizes} samples"]


def _first_axes(graph: GraphProto) -> dict[str, int]:
    """The first axis of each input in order, 0 where it is open or there is none."""
    held = {tensor.name for tensor in graph.initializer}
    found = {}
    for entry in graph.input:
        dims = entry.type.tensor_type.shape.dim
        if entry.name not in held:
            found[entry.name] = max(dims[0].dim_value, 0) if len(dims) else 0
    return found


def _fits(batch: object, order: list[str], fixed: Mapping[str, int]) -> bool:
    """Whether the arrays of a batch have the first axes that a graph fixes."""
    if isinstance(batch, Mapping):
        given = {str(name): value for name, value in batch.items()}
    else:
        given = dict(zip(order, batch if isinstance(batch, tuple | list) else (batch,),
                         strict=False))  # fmt: skip
    for name, value in given.items():
        size, shape = fixed.get(name), tuple(getattr(value, "shape", ()))
        if size and shape and int(shape[0]) != size:
            return False
    return True
