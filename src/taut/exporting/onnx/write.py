"""A module as an ONNX file, its weights in as few bytes as its runtime can run.

The graph is PyTorch's own export, in floats. What follows stands in small files of its own: which
constants are weights and their integers (onnx_weights.py), ranges of activations (onnx_ranges.py),
and the nodes that either needs (onnx_static.py, onnx_dynamic.py, onnx_blocks.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from taut.container import check_destination, made_file
from taut.errors import ArgumentError
from taut.exporting.onnx.blocks import to_blocks
from taut.exporting.onnx.check import check_onnx, find_clipping
from taut.exporting.onnx.dynamic import insert_dynamic, insert_rows, insert_stored
from taut.exporting.onnx.graph import arrays, describe_no_more
from taut.exporting.onnx.graph_weights import GraphWeight, Stored, find_weights, stored
from taut.exporting.onnx.half import store_half
from taut.exporting.onnx.ranges import RANGES
from taut.exporting.onnx.static import insert_static
from taut.exporting.onnx.trace import trace
from taut.exporting.result import Export
from taut.networks.onnx_packages import need, need_all

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

Weights = Literal["float32", "float16", "int8", "int4"]
Activations = Literal["none", "dynamic", "static"]
Ranges = Literal["minmax", "percentile", "mse", "entropy"]

_INLINE: Final = (1 << 31) - (1 << 24)  # bytes of constants; protobuf holds no file of 2 GiB
_CHECKED: Final = 8  # batches that the check runs
_OPSET, _IR = 13, 8  # of ONNX: the first with a scale a row
_NEAR: Final = 0.95  # a cosine below which the user is warned


def export_onnx(
    module: torch.nn.Module,
    example: object,
    out: Path,
    *,
    weights: Weights = "int8",
    group_size: int = 32,
    asymmetric: bool = False,
    activations: Activations = "static",
    batches: Iterable[object] | None = None,
    ranges: Ranges = "mse",
    opset: int | None = None,
    force: bool = False,
) -> Export:
    """Write a module as `out`, run it in onnxruntime against the module, and say what became of it.

    `example` is a batch as the module's forward takes it: a mapping by name, a sequence in order,
    or one argument. `weights` are stored as float32, float16, int8 (a scale a row; the tensor's
    own integers where it is on such a grid) or int4 (`group_size` values of a row share a scale).
    `activations` concern int8 weights: "static" rounds them by the `ranges` that `batches` show,
    "dynamic" by their range at run time, "none" leaves them float. The module is not changed.

    Raises:
        ArgumentError: an argument is wrong, an extra is missing, the module cannot be exported,
            or `out` may not be written.
        VerifyError: onnxruntime's answer is not the module's.
    """
    _check_arguments(weights, activations, ranges, group_size)
    if weights == "int8" and activations == "static" and batches is None:
        raise ArgumentError(
            "static activations take batches to calibrate on: give batches=, or "
            'activations="dynamic"'
        )
    check_destination(Path(out), force=force)
    need_all()
    data = list(batches) if batches is not None else []
    traced = trace(module, example, opset=opset)
    return _written(
        traced.model, module, data, data[:_CHECKED] or [example], Path(out), list(traced.notes),
        weights=weights, group_size=group_size, asymmetric=asymmetric, activations=activations,
        ranges=ranges, force=force,
    )  # fmt: skip


def export_graph(
    model: ModelProto,
    module: torch.nn.Module,
    batches: Iterable[object],
    out: Path,
    *,
    weights: Weights = "int8",
    group_size: int = 32,
    asymmetric: bool = False,
    activations: Activations = "static",
    ranges: Ranges = "mse",
    force: bool = False,
) -> Export:
    """As `export_onnx`, of a graph that is there already and that `module` runs in floats.

    `model` is changed; its constants have to be in it.

    Raises:
        ArgumentError: an argument is wrong, or the graph is older than opset 13 and cannot be
            brought there.
        VerifyError: onnxruntime's answer is not the module's.
    """
    _check_arguments(weights, activations, ranges, group_size)
    check_destination(out, force=force)
    need_all()
    data = list(batches)
    return _written(
        _modern(model), module, data, data[:_CHECKED], out, [],
        weights=weights, group_size=group_size, asymmetric=asymmetric, activations=activations,
        ranges=ranges, force=force,
    )  # fmt: skip


def _modern(model: ModelProto) -> ModelProto:
    """A graph in which integers can stand: opset 13, and no constant among its inputs."""
    version = max((one.version for one in model.opset_import if not one.domain), default=0)
    if version < _OPSET:
        try:
            model = need("onnx.version_converter").convert_version(model, _OPSET)
        except Exception as error:
            line = str(error).strip().partition("\n")[0]
            raise ArgumentError(
                f"the graph has opset {version}, integers take {_OPSET}, and onnx cannot convert "
                f"it ({line}); export the model anew with a later opset"
            ) from error
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _IR)
    return model


def _written(
    model: ModelProto,
    module: torch.nn.Module,
    data: list[object],
    checked: list[object],
    out: Path,
    notes: list[str],
    *,
    weights: str,
    group_size: int,
    asymmetric: bool,
    activations: str,
    ranges: str,
    force: bool,
) -> Export:
    """Put a float graph's weights in fewer bits, write it, run it, and give it its name."""
    exact = rounded = 0
    if weights == "int8":
        exact, rounded = _to_int8(model, activations, data, ranges, notes)
    elif weights == "int4":
        exact, rounded = to_blocks(model, group_size, asymmetric, notes)
    elif weights == "float16":
        exact, rounded = store_half(model.graph)
    else:
        exact = len(arrays(model.graph))
    with made_file(out, force=force) as temporary:
        files = _save(model, temporary)
        check = check_onnx(temporary, module, checked)
        if check.cosine < _NEAR:
            notes.append(
                f"answers are far from the module's (mean cosine {check.cosine:.3f}): judge it by "
                "a score; give more bits, or batches like those of real use"
            )
        if weights == "int8" and activations == "static":
            notes.extend(find_clipping(temporary, checked[0]))
        size = sum(file.stat().st_size for file in files)
    placed = tuple(out.parent / file.name for file in files)
    return Export(out, "onnx", placed, size, exact, rounded, check, tuple(notes))


def _check_arguments(weights: str, activations: str, ranges: str, group_size: int) -> None:
    for name, given, known in (
        ("weights", weights, get_args(Weights)),
        ("activations", activations, get_args(Activations)),
        ("ranges", ranges, RANGES),
    ):
        if given not in known:
            raise ArgumentError(f'{name}: "{given}" is none of {", ".join(known)}')
    if weights == "int4" and group_size not in (16, 32, 64, 128, 256):
        raise ArgumentError(
            f"group_size: {group_size} is none of 16, 32, 64, 128, 256, which MatMulNBits takes"
        )


def _to_int8(
    model: ModelProto, activations: str, data: list[object], ranges: str, notes: list[str]
) -> tuple[int, int]:
    """Put integers for the weights of a graph; how many are the file's own, and how many not."""
    graph = model.graph
    found, left = find_weights(graph)
    if not found:
        raise ArgumentError("the graph has no weights that integers can stand for; give float16")
    notes.extend(left)
    describe_no_more(graph, [one.taken for one in found])
    constants = arrays(graph)
    floats = len([v for v in constants.values() if v.dtype == np.float32 and v.ndim])
    narrow = {one.name for one in found if one.kind == "matmul" and activations != "none"}
    integers = {
        one.name: stored(constants[one.name], one.axis, narrow=one.name in narrow) for one in found
    }
    if activations == "static":
        insert_static(model, found, integers, data, ranges)
    elif activations == "dynamic":
        insert_dynamic(graph, found, integers)
        convolutions = [weight for weight in found if weight.kind == "conv"]
        if convolutions:
            notes.append("convolutions multiply floats: only static activations run them faster")
        insert_stored(graph, convolutions, integers)
    else:
        insert_stored(graph, found, integers)
    insert_rows(graph, found, integers)
    rounded = sum(not one.exact for one in integers.values())
    return floats - rounded, rounded


def _save(model: ModelProto, path: Path) -> list[Path]:
    """Write a graph, its constants beside it where protobuf cannot hold them; the files."""
    onnx = need("onnx")
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size < _INLINE:
        onnx.save_model(model, path)
        return [path]
    beside = f"{path.name}.data"
    onnx.save_model(model, path, save_as_external_data=True, location=beside)
    return [path, path.with_name(beside)]


__all__ = [
    "Activations",
    "GraphWeight",
    "Ranges",
    "Stored",
    "Weights",
    "export_graph",
    "export_onnx",
]
