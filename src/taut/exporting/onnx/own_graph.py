"""The graph that a file was made of, given back: as it was, or with integers in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from taut.container import TautFile, made_file, scratch_folder
from taut.errors import ArgumentError
from taut.exporting.check import Comparison, size_words
from taut.exporting.onnx import write
from taut.exporting.onnx.usual_form import form_for
from taut.exporting.request import ExportRequest
from taut.exporting.result import Export
from taut.exporting.scored import scored
from taut.io import open_source
from taut.io.onnx import GRAPH
from taut.loading.restore_onnx import write_onnx
from taut.networks import open_calibration, open_model


def export_graph(file: TautFile, request: ExportRequest) -> Export:
    """Give the .onnx back that the file was made of, with the file's values in it.

    With data (or weights asked for) its weights and activations become integers, as a network's.

    Raises:
        ArgumentError: it is asked to be another than it was, and there are no data to check it on.
        VerifyError: it does not read back, or the runtime's answer is another.
    """
    grid = (request.weights, request.group_size, request.activations, request.ranges, request.calib)
    if any(one is not None for one in grid):
        return _rounded_graph(file, request)
    out = request.out
    with made_file(out, force=request.force) as made:
        written = tuple(write_onnx(file, made))
        found = _compare(file, written[0])
        more = [path.relative_to(made.parent) for path in written[1:]]
        size = sum(path.stat().st_size for path in written)
    folder = Path(os.path.realpath(out)).parent
    return Export(
        path=out,
        format="onnx",
        files=(out, *(folder / data for data in more)),
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check("read back from the disk"),
        notes=tuple(_notes(file, request, size)),
    )


def _compare(file: TautFile, written: Path) -> Comparison:
    """Hold the tensors of a written model against the file's."""
    found, source = Comparison(), open_source(written)
    graph = file.index.origin.metadata[GRAPH]
    for info in source.infos:
        if info.name != graph:  # where the values lie, which other files may say otherwise
            found.add(info.name, file[info.name], source.load(info.name))
    return found


def _notes(file: TautFile, request: ExportRequest, size: int) -> Iterable[str]:
    """What there is to say of a graph as it was."""
    words = size_words(file.index.origin.nbytes, file.size, size)
    yield f"the graph that the file was made of, no faster than before: {words}"
    if request.score is not None:
        from taut.networks.onnx_module import open_onnx

        name, value = scored(open_onnx(request.out), request.score)
        yield f"{name} {value:.4f} in onnxruntime"


def _rounded_graph(file: TautFile, request: ExportRequest) -> Export:
    """The graph with its weights on a runtime's grid, run against the same graph in floats."""
    from taut.networks.onnx_module import open_onnx

    out = request.out
    if request.calib is None:
        raise ArgumentError(
            f"calib (--calib): {file.path} was made of an .onnx; to put it on a grid takes data to "
            "run it on, as an .npz of its inputs, or file.py:function that gives batches"
        )
    form = form_for(file, request)
    with scratch_folder(out, file.path) as folder:
        floats = next(iter(write_onnx(file, folder / "float.onnx")))
        loaded = open_model(floats)
        batches = list(open_calibration(request.calib, loaded))
        before = None if request.score is None else scored(loaded.module, request.score)
        done = write.export_graph(floats, batches, out, form, force=request.force)
    words = size_words(file.index.origin.nbytes, file.size, done.size)
    notes = [*done.notes, f"{form.weights} weights: {words}"]
    if before is not None and request.score is not None:
        after = scored(open_onnx(out), request.score)
        notes.append(f"{after[0]} {before[1]:.4f} in floats, {after[1]:.4f} on the grid")
    return replace(done, notes=tuple(notes))
