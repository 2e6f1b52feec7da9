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
from taut.exporting.held_against import Answers
from taut.exporting.onnx.answers import of_graph, of_module
from taut.exporting.onnx.blocks import to_blocks
from taut.exporting.onnx.bodies import with_single_names
from taut.exporting.onnx.check import compare, find_clipping, refuse_other
from taut.exporting.onnx.cut_constants import join_cut_constants
from taut.exporting.onnx.error_bound import Attempt, Left, within
from taut.exporting.onnx.folded_norms import fold_norms
from taut.exporting.onnx.fresh_names import FreshNames
from taut.exporting.onnx.graph import arrays
from taut.exporting.onnx.half import store_half
from taut.exporting.onnx.int8 import to_int8
from taut.exporting.onnx.known import Known
from taut.exporting.onnx.load_model import load_model
from taut.exporting.onnx.onnx_form import OnnxForm, Placed
from taut.exporting.onnx.open_graph import OpenGraph
from taut.exporting.onnx.plain_graph import fitting_batches, prepared
from taut.exporting.onnx.trace import Traced, trace
from taut.exporting.result import Check, Export
from taut.networks.onnx_packages import need, need_all

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

_INLINE: Final = (1 << 31) - (1 << 24)  # bytes of constants; protobuf holds no file of 2 GiB
_CHECKED: Final = 8  # batches that the check runs
_NEAR: Final = 0.95  # a cosine below which the user is warned
_LEAN: Final = 0.4  # a relative error of an output above which they are
_OFF: Final = 0.2  # of an output's range: an error above which a bound is recommended
_INT8: Final = OnnxForm()


@dataclass(frozen=True)
class _Reference:
    """What a graph has to answer like; `data` calibrate it, and both are run on `checked`."""

    answers: Answers
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
    data, notes = fitting_batches(traced.model.graph, data)
    reference = _Reference(of_module(module), data, data[:_CHECKED] or [example])
    ready = Traced(traced.model, (*traced.notes, *notes))
    return _written(ready, reference, Path(out), form, force=force)


def export_graph(
    path: Path,
    batches: Iterable[object],
    out: Path,
    form: OnnxForm = _INT8,
    *,
    force: bool = False,
) -> Export:
    """As `export_onnx`, of a graph in floats that is an .onnx file already.

    Raises:
        ArgumentError: an argument is wrong, no batch fits the graph, or it is older than opset 13,
            is to have static activations, and cannot be brought there.
        VerifyError: onnxruntime's answer is not the file's.
    """
    check_destination(out, force=force)
    need_all()
    model = load_model(path)
    data, left = fitting_batches(model.graph, list(batches))
    model, notes = prepared(model, form)
    reference = _Reference(of_graph(path), data, data[:_CHECKED])
    return _written(Traced(model, (*notes, *left)), reference, out, form, force=force)


def _written(
    graph: Traced, reference: _Reference, out: Path, form: OnnxForm, *, force: bool
) -> Export:
    """Put a float graph's weights in fewer bits, write it, run it, and give it its name."""
    known = Known(reference.data)
    if form.weights != "float32":
        with_single_names(graph.model.graph, FreshNames(graph.model.graph).fresh)
        join_cut_constants(graph.model)
    if form.calibrated:
        fold_norms(graph.model)
    with made_file(out, force=force) as temporary:

        def write(given: OnnxForm, left: Left, whole: bool) -> Attempt:
            model = type(graph.model)()
            model.CopyFrom(graph.model)
            placed = _placed(model, given, known, left)
            _save(model, temporary)
            batches = reference.checked if whole else reference.checked[:1]
            check = compare(temporary, reference.answers, batches)
            return Attempt(given, left, placed, check)

        done, helped = within(write(form, Left(), True), write)
        refuse_other(temporary, done.check)
        notes = [*graph.notes, *done.placed.notes, *helped, *_warnings(done.check, form)]
        if form.calibrated:
            notes.extend(find_clipping(temporary, reference.checked[0]))
        files = _files(temporary)
        size = sum(file.stat().st_size for file in files)
    return Export(
        path=out,
        format="onnx",
        files=tuple(out.parent / file.name for file in files),
        size=size,
        exact=done.placed.exact,
        rounded=done.placed.rounded,
        check=done.check,
        notes=tuple(notes),
    )


def _warnings(check: Check, form: OnnxForm) -> list[str]:
    """Notes where answers are far from what they should be."""
    far, most = check.relative or 0.0, check.of_range or 0.0
    notes = []
    if form.bound is None and most > _OFF:
        notes.append(
            f"an output's value is off by {most:.2g} of the outputs' range: max_error "
            "(--max-error) leaves the layers float that cost most"
        )
    if check.lost:
        many = "a batch" if check.lost == 1 else f"{check.lost} batches"
        notes.append(
            f"the answers to {many} of the check are lost, though not those of all together: they "
            "are much smaller than the others'; " + (
                "activations dynamic (--activations) takes each batch's own range"
                if form.calibrated else "give more bits"
            )
        )  # fmt: skip
    if check.cosine >= _NEAR and far <= _LEAN:
        return notes
    return [
        *notes,
        f"answers are far from the module's (mean cosine {check.cosine:.3f}, relative error of an "
        f"output up to {far:.2f}): judge it by a score; give more bits, or batches like those of "
        "real use",
    ]


def _placed(model: ModelProto, form: OnnxForm, known: Known, left: Left) -> Placed:
    """Put the numbers of a form for the constants of a float graph."""
    if form.weights == "float32":
        return Placed(exact=len(arrays(model.graph)), rounded=0)
    graph = OpenGraph(model)
    match form.weights:
        case "int8":
            placed = to_int8(graph, form, known, left.floats, left.loose)
        case "int4":
            placed = to_blocks(graph, form, known, left.floats)
        case "float16":
            placed = store_half(graph, left.floats)
    graph.sweep()
    return placed


def _save(model: ModelProto, path: Path) -> None:
    """Write a graph, its constants beside it where protobuf cannot hold them."""
    onnx = need("onnx")
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size < _INLINE:
        onnx.save_model(model, path)
        return
    beside = _beside(path)
    beside.unlink(missing_ok=True)  # an attempt's before, which would be added to
    onnx.save_model(model, path, save_as_external_data=True, location=beside.name)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def _files(path: Path) -> list[Path]:
    """What was written."""
    return [path, *([_beside(path)] if _beside(path).exists() else [])]
