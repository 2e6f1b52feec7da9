"""ONNX as what an export makes: the network is built, filled from the file, traced and run.

A file that was made of an .onnx needs no network: its graph is in it, and comes back as it was.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from taut.container import TautFile, made_file, scratch_folder
from taut.errors import ArgumentError
from taut.exporting.check import Comparison, size_words
from taut.exporting.result import Export
from taut.exporting.safetensors import export_folder
from taut.io import open_source
from taut.io.onnx import GRAPH
from taut.loading.load import load
from taut.loading.restore_onnx import write_onnx
from taut.networks import LoadedModel, open_calibration, open_model
from taut.scheme import parse_scheme
from taut.scoring.criteria import network_of
from taut.scoring.metrics import deciding
from taut.scoring.user_score import judged

if TYPE_CHECKING:
    import torch

    from taut.networks import CalibrationSpec, ModelSpec

_WORDS = ["A few words for an example.", "Another example, and it is somewhat longer."]

_NARROW = ("binary", "ternary", "int2", "int3")

Weights = Literal["float32", "float16", "int8", "int4"]


@dataclass(frozen=True)
class OnnxRequest:
    """What was asked for; None stands for what follows from the file, or from the data."""

    weights: str | None
    group_size: int | None
    activations: str | None
    ranges: str | None
    calib: CalibrationSpec | None
    evaluate: Callable[[torch.nn.Module], object] | None
    force: bool


def export_network(
    file: TautFile,
    out: Path,
    network: ModelSpec,
    companions: Path | None,
    request: OnnxRequest,
) -> Export:
    """Trace the network with the file's values, and run what was written against it.

    `companions` is the folder that describes the network, if it is one of transformers; else
    `network` is the module, or `file.py:function`.

    Raises:
        ArgumentError: there is no batch to trace it with, or it cannot be exported.
        VerifyError: the runtime's answer is another.
    """
    from taut.exporting.onnx.write import Activations, Ranges, export_onnx

    loaded = _filled(file, out, network, companions)
    batches = _batches(loaded, request.calib)
    weights, group, asymmetric = _grid(file, request)
    default = "none" if weights != "int8" else "static" if request.calib else "dynamic"
    before = None if request.evaluate is None else scored(loaded.module, request.evaluate)
    done = export_onnx(
        loaded.module,
        batches[0],
        out,
        weights=weights,
        group_size=group,
        asymmetric=asymmetric,
        activations=cast("Activations", request.activations or default),
        batches=batches if request.calib is not None else None,
        ranges=cast("Ranges", request.ranges or "mse"),
        force=request.force,
    )
    words = size_words(file.index.origin.nbytes, file.size, done.size)
    done = replace(done, notes=(*done.notes, f"{weights} weights: {words}"))
    if before is None or request.evaluate is None:
        return done
    from taut.networks.onnx_module import open_onnx

    after = scored(open_onnx(out, like=loaded.module), request.evaluate)
    note = f"{after[0]} {before[1]:.4f} in PyTorch, {after[1]:.4f} in onnxruntime"
    return replace(done, notes=(*done.notes, note))


def export_graph(file: TautFile, out: Path, request: OnnxRequest) -> Export:
    """Give the .onnx back that the file was made of, with the file's values in it.

    With data (or weights asked for) its weights and activations become integers, as a network's.

    Raises:
        ArgumentError: it is asked to be another than it was, and there are no data to check it on.
        VerifyError: it does not read back, or the runtime's answer is another.
    """
    grid = (request.weights, request.group_size, request.activations, request.ranges, request.calib)
    if any(one is not None for one in grid):
        return _rounded_graph(file, out, request)
    with made_file(out, force=request.force) as made:
        written = write_onnx(file, made)
        found, source = Comparison(), open_source(written[0])
        graph = file.index.origin.metadata[GRAPH]
        for info in source.infos:
            if info.name == graph:  # where the values lie, which other files may say otherwise
                continue
            found.add(info.name, file[info.name], source.load(info.name))
        more = [path.relative_to(made.parent) for path in written[1:]]
        size = sum(path.stat().st_size for path in written)
    files = (out, *(Path(os.path.realpath(out)).parent / beside for beside in more))
    words = size_words(file.index.origin.nbytes, file.size, size)
    notes = [f"the graph that the file was made of, no faster than before: {words}"]
    if request.evaluate is not None:
        from taut.networks.onnx_module import open_onnx

        score = scored(open_onnx(out), request.evaluate)
        notes.append(f"{score[0]} {score[1]:.4f} in onnxruntime")
    return Export(
        path=out,
        format="onnx",
        files=files,
        size=size,
        exact=len(found.exact),
        rounded=len(found.rounded),
        check=found.check("read back from the disk"),
        notes=tuple(notes),
    )


def _rounded_graph(file: TautFile, out: Path, request: OnnxRequest) -> Export:
    """The graph with its weights on a runtime's grid, run against the same graph in floats."""
    from taut.exporting.onnx.write import Activations, Ranges
    from taut.exporting.onnx.write import export_graph as export
    from taut.networks.onnx_module import open_onnx
    from taut.networks.onnx_packages import need

    if request.calib is None:
        raise ArgumentError(
            f"calib (--calib): {file.path} was made of an .onnx; to put it on a grid takes data to "
            "run it on, as an .npz of its inputs, or file.py:function that gives batches"
        )
    weights, group, asymmetric = _grid(file, request)
    static = weights == "int8"
    with scratch_folder(out) as folder:
        floats = write_onnx(file, folder / "float.onnx")[0]
        loaded = open_model(floats)
        batches = list(open_calibration(request.calib, loaded))
        before = None if request.evaluate is None else scored(loaded.module, request.evaluate)
        done = export(
            need("onnx").load(str(floats)),
            loaded.module,
            batches,
            out,
            weights=weights,
            group_size=group,
            asymmetric=asymmetric,
            activations=cast(
                "Activations", request.activations or ("static" if static else "none")
            ),
            ranges=cast("Ranges", request.ranges or "mse"),
            force=request.force,
        )
    words = size_words(file.index.origin.nbytes, file.size, done.size)
    notes = [*done.notes, f"{weights} weights: {words}"]
    if before is not None and request.evaluate is not None:
        after = scored(open_onnx(out), request.evaluate)
        notes.append(f"{after[0]} {before[1]:.4f} in floats, {after[1]:.4f} on the grid")
    return replace(done, notes=tuple(notes))


def _filled(file: TautFile, out: Path, network: ModelSpec, companions: Path | None) -> LoadedModel:
    """The network, its parameters those of the file."""
    if companions is not None:
        with scratch_folder(out) as folder:
            export_folder(file, folder / companions.resolve().name, companions)
            return open_model(folder / companions.resolve().name)
    loaded = open_model(network)
    if file.modules:  # pruned: the layers are made as small as the file's
        module = load(file.path, into=copy.deepcopy(loaded.module))
        return LoadedModel(module, loaded.tokenize, loaded.names, loaded.source)
    lost = [name for name in file if name not in loaded.names]
    if lost or loaded.missing:
        load(file.path, into=copy.deepcopy(loaded.module))  # raises, and says what differs
    return LoadedModel(network_of(loaded, file.path), loaded.tokenize, loaded.names, loaded.source)


def _batches(loaded: LoadedModel, calib: CalibrationSpec | None) -> list[object]:
    if calib is not None:
        return list(open_calibration(calib, loaded))
    if loaded.tokenize is None:
        raise ArgumentError(
            "calib (--calib): ONNX takes a batch to trace the network with; name data, or "
            "file.py:function that gives batches"
        )
    return [loaded.tokenize(_WORDS)]


def _grid(file: TautFile, request: OnnxRequest) -> tuple[Weights, int, bool]:
    """The weights that were asked for, or what most of the file's matrices already are."""
    kinds: Counter[tuple[str, int | None, bool]] = Counter()
    for record in file.index.records:
        scheme = parse_scheme(record.scheme)
        if len(record.shape) >= 2:
            kind = scheme.kind if scheme.kind in ("int8", "int4") else "float32"
            if scheme.kind in _NARROW and scheme.group_size is None:
                kind = "int8"  # which holds them as they are
            kinds[kind, scheme.group_size, scheme.asymmetric] += prod(record.shape)
    usual = kinds.most_common(1)[0][0] if kinds else ("float32", None, False)
    weights = request.weights or usual[0]
    if weights not in ("float32", "float16", "int8", "int4"):
        raise ArgumentError(f"weights {weights}: ONNX takes float32, float16, int8, int4")
    if weights != "int4" and request.group_size is not None:
        raise ArgumentError(f"group_size: goes with weights int4, and these are {weights}")
    same = weights == usual[0]
    group = request.group_size or (usual[1] if same else None) or 32
    return cast("Weights", weights), group, same and usual[2]


def scored(
    module: torch.nn.Module, evaluate: Callable[[torch.nn.Module], object]
) -> tuple[str, float]:
    """The name and the value of the number that decides, of what the caller's function gives.

    Raises:
        ArgumentError: it raised, or gave what is no score.
    """
    metric = deciding(judged(evaluate, module, copied=False))
    return metric.name, metric.value
