"""An export from a request to what was written: its places, its companions, and the format's room.

Each format is a file or a folder beside this one; what they share is here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from taut.container import TautFile, check_destination, check_folder, open_taut
from taut.container.tree_file import TreeFile
from taut.errors import ArgumentError
from taut.exporting.compressed_tensors.packing import Packing
from taut.exporting.compressed_tensors.write import export_compressed_tensors
from taut.exporting.device.device_export import NetworkOfFile, export_to_device
from taut.exporting.device.device_form import device_form
from taut.exporting.device.device_formats import device_format
from taut.exporting.gguf.with_metadata import export_frame
from taut.exporting.gguf.write import export_gguf
from taut.exporting.load_folder import load_folder
from taut.exporting.onnx.from_file import export_network
from taut.exporting.onnx.own_graph import export_graph
from taut.exporting.request import SEVERAL, ExportRequest, Format
from taut.exporting.result import Export
from taut.exporting.rounded_again import counted_note
from taut.exporting.safetensors import HubFolder, check_dtype, export_file, export_folder
from taut.io.names import as_text
from taut.loading.restore_gguf import is_gguf
from taut.loading.restore_onnx import is_onnx
from taut.machine import checked_threads
from taut.networks.callables import names_callable


def run_export(request: ExportRequest) -> Export:
    """Write what was asked for, checked before it gets its name.

    Raises:
        ArgumentError: options do not go with the format, something is missing, or `out` exists.
        FormatError, VerifyError: the file is damaged, or what was written does not read back.
        TautError: the disk is full, or cannot be written for another reason.
    """
    kind = request.format()
    check_dtype(request.dtype)
    _check_places(request, kind)
    file = open_taut(request.source, threads=checked_threads(request.threads))
    if isinstance(file, TreeFile):
        first = next(iter(file.files.values()))
        raise ArgumentError(
            f"{request.source}: holds {len(file.units)} models, of which one at a time is "
            f"exported; name one, as {request.source / first}"
        )
    out, force, progress = request.out, request.force, request.progress
    match kind:
        case "safetensors":
            return export_file(file, out, dtype=request.dtype, force=force, progress=progress)
        case "onnx":
            done = _to_onnx(file, request)
            return replace(done, notes=(*done.notes, *counted_note(file, done.rounded)))
        case "gguf":
            if is_gguf(file):
                _check_alone(request)
                return export_frame(
                    file, out, weights=request.weights, force=force, progress=progress
                )
            companions = _companions(request, kind)
            return export_gguf(
                file, out, companions, weights=request.weights, force=force, progress=progress
            )
        case "litert" | "executorch" | "coreml":
            done = _to_device(file, request, kind)
            return replace(done, notes=(*done.notes, *counted_note(file, done.rounded)))
        case "compressed-tensors":
            companions = _companions(request, kind)
            packing = Packing(
                request.weights, request.group_size, request.activations, request.calib
            )
            return export_compressed_tensors(
                file, out, companions, packing, force=force, progress=progress
            )
        case "hf":
            folder = HubFolder(_companions(request, kind), request.dtype)
            return export_folder(
                file,
                out,
                folder,
                force=force,
                progress=progress,
                judge=lambda path: load_folder(path, file, request.score),
            )


def _to_onnx(file: TautFile, request: ExportRequest) -> Export:
    """ONNX of the graph that the file was made of, or of the network that it belongs to."""
    if is_onnx(file):
        return export_graph(file, request)
    network = _network(request, "onnx", "ONNX")
    return export_network(file, request, network.described, network.companions)


def _to_device(file: TautFile, request: ExportRequest, kind: Format) -> Export:
    """A model for phones and boards of the network that the file belongs to."""
    found = device_format(kind)
    form = device_form(request, found.choice)
    found.need()
    if is_onnx(file) and request.into is None:
        raise ArgumentError(
            f"into (--into): {request.source} was made of an .onnx file, and {found.choice.shown} "
            "is made of a PyTorch module; give file.py:function that gives it, or name an output "
            "that ends in .onnx"
        )
    return export_to_device(file, request, _network(request, kind, found.choice.shown), form, found)


def _network(request: ExportRequest, kind: Format, shown: str) -> NetworkOfFile:
    """The network that a file's tensors belong to, which formats of networks take.

    Raises:
        ArgumentError: the file holds tensors alone, and no original is given.
    """
    described = request.source if request.into is None else request.into
    if isinstance(described, (str, Path)) and Path(described).is_dir():
        return NetworkOfFile(described, _companions(request, kind))
    if request.into is None:
        raise ArgumentError(
            f"into (--into): {request.source} holds tensors alone, and {shown} is a network's; "
            "give the original's folder, or file.py:function that gives the module"
        )
    return NetworkOfFile(request.into, None)


def _check_alone(request: ExportRequest) -> None:
    """A file of GGUF needs no original beside it; raises ArgumentError where one is given."""
    if request.into is not None:
        raise ArgumentError(
            f"into (--into): {request.source} was made of GGUF and has all that GGUF needs; leave "
            "it out"
        )


def _check_places(request: ExportRequest, kind: Format) -> None:
    """Nothing is written over or into what is read, nor under a name that a writer cannot take."""
    out = request.out
    if kind != "safetensors" and as_text(str(out)) != str(out):
        raise ArgumentError(f"{out}: is not valid Unicode, which {kind} wants; name another")
    real = Path(os.path.realpath(out))
    for path in _inputs(request):
        given = Path(os.path.realpath(path))
        if real == given:
            raise ArgumentError(f"{out}: is an input; name another")
        if given.is_dir() and given in real.parents and kind in SEVERAL:
            raise ArgumentError(f"{out}: lies in the folder {path}, which is read; name another")
    if kind in SEVERAL:
        check_folder(out, force=request.force)
    else:
        check_destination(out, force=request.force)


def _inputs(request: ExportRequest) -> Iterator[Path]:
    """The files and folders that are read, as far as they exist."""
    if request.source.exists():
        yield request.source
    into = request.into
    if isinstance(into, (str, Path)) and not names_callable(str(into)) and Path(into).exists():
        yield Path(into)


def _companions(request: ExportRequest, kind: Format) -> Path:
    """The folder whose config and tokenizer the export takes."""
    into, folders = request.into, [request.source]
    if isinstance(into, (str, Path)):
        if not Path(into).is_dir():
            raise ArgumentError(
                f"into (--into): {into} is no folder, which {kind} takes its config from; an "
                "output that ends in .onnx, .tflite or .pte takes file.py:function"
            )
        folders = [Path(into), request.source]
    elif into is not None:
        raise ArgumentError(f"into: {kind} takes the original's folder, for its config")
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    raise ArgumentError(
        f"{folders[0]}: no config.json, which {kind} needs; give the original's folder with "
        "--into (into=), or name an output that ends in .safetensors"
    )
