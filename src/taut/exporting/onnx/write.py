"""A module as an ONNX file, its weights in as few bytes as its runtime can run.

The graph is PyTorch's own export, in floats. What follows stands in small files of its own: the
numbers that are asked for (onnx_form.py), which constants are weights and their integers
(graph_weights.py), ranges of activations (ranges.py), and the nodes that either needs (int8.py,
static.py, dynamic.py, blocks.py, half.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.container import check_destination, made_file
from taut.errors import ArgumentError
from taut.exporting.onnx.blocks import to_blocks
from taut.exporting.onnx.check import check_onnx, find_clipping
from taut.exporting.onnx.graph import arrays
from taut.exporting.onnx.half import store_half
from taut.exporting.onnx.int8 import to_int8
from taut.exporting.onnx.onnx_form import OnnxForm, Placed
from taut.exporting.onnx.trace import Traced, trace
from taut.exporting.result import Export
from taut.networks.onnx_packages import need, need_all

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

_INLINE: Final = (1 << 31) - (1 << 24)  # bytes of constants; protobuf holds no file of 2 GiB
_CHECKED: Final = 8  # batches that the check runs
_OPSET, _IR = 13, 8  # of ONNX: the first with a scale a row
_NEAR: Final = 0.95  # a cosine below which the user is warned
_INT8: Final = OnnxForm()


@dataclass(frozen=True)
class _Reference:
    """What a graph has to answer like; `data` calibrate it, and both are run on `checked`."""

    module: torch.nn.Module
    data: list[object]
    checked: list[object]


def export_onnx(
    module: torch.nn.Module,
    example: object,
    out: Path,
    form: OnnxForm = _INT8,
    *,
    batches: Iterable[object] | None = None,
    force: bool = False,
) -> Export:
    """Write a module as `out`, run it in onnxruntime against the module, and say what became of it.

    `example` is a batch as the module's forward takes it: a mapping by name, a sequence in order,
    or one argument. `form` says which numbers stand for weights and activations, by default int8
    and static ones, whose ranges `batches` show. The module is not changed.

    Raises:
        ArgumentError: an argument is wrong, an extra is missing, the module cannot be exported,
            or `out` may not be written.
        VerifyError: onnxruntime's answer is not the module's.
    """
    if form.calibrated and batches is None:
        raise ArgumentError(
            "static activations take batches to calibrate on: give batches=, or "
            'activations="dynamic"'
        )
    check_destination(Path(out), force=force)
    need_all()
    data = list(batches) if batches is not None else []
    traced = trace(module, example, opset=form.opset)
    reference = _Reference(module, data, data[:_CHECKED] or [example])
    return _written(traced, reference, Path(out), form, force=force)


def export_graph(
    model: ModelProto,
    module: torch.nn.Module,
    batches: Iterable[object],
    out: Path,
    form: OnnxForm = _INT8,
    *,
    force: bool = False,
) -> Export:
    """As `export_onnx`, of a graph that is there already and that `module` runs in floats.

    `model` is changed; its constants have to be in it.

    Raises:
        ArgumentError: an argument is wrong, or the graph is older than opset 13 and cannot be
            brought there.
        VerifyError: onnxruntime's answer is not the module's.
    """
    check_destination(out, force=force)
    need_all()
    data = list(batches)
    reference = _Reference(module, data, data[:_CHECKED])
    return _written(Traced(_modern(model), ()), reference, out, form, force=force)


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
    graph: Traced, reference: _Reference, out: Path, form: OnnxForm, *, force: bool
) -> Export:
    """Put a float graph's weights in fewer bits, write it, run it, and give it its name."""
    placed = _placed(graph.model, form, reference.data)
    notes = [*graph.notes, *placed.notes]
    with made_file(out, force=force) as temporary:
        files = _save(graph.model, temporary)
        check = check_onnx(temporary, reference.module, reference.checked)
        if check.cosine < _NEAR:
            notes.append(
                f"answers are far from the module's (mean cosine {check.cosine:.3f}): judge it by "
                "a score; give more bits, or batches like those of real use"
            )
        if form.calibrated:
            notes.extend(find_clipping(temporary, reference.checked[0]))
        size = sum(file.stat().st_size for file in files)
    return Export(
        path=out,
        format="onnx",
        files=tuple(out.parent / file.name for file in files),
        size=size,
        exact=placed.exact,
        rounded=placed.rounded,
        check=check,
        notes=tuple(notes),
    )


def _placed(model: ModelProto, form: OnnxForm, data: list[object]) -> Placed:
    """Put the numbers of a form for the constants of a float graph."""
    match form.weights:
        case "int8":
            return to_int8(model, form, data)
        case "int4":
            return to_blocks(model, form)
        case "float16":
            return store_half(model.graph)
        case "float32":
            return Placed(exact=len(arrays(model.graph)), rounded=0)


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
