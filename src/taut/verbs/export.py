"""The verb export: a Taut file in, a model for another runtime out, checked before it is kept.

Which format it is follows from the name of the output, or is said by `to`. Each format is a file in
the room `export`; what they share is here: which options go with which, the folder's companions,
and the original network where a format wants one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import psutil

from taut.container import TautFile, check_destination, check_folder, find_file
from taut.errors import ArgumentError, VerifyError
from taut.exporting.compressed_tensors.write import export_compressed_tensors
from taut.exporting.gguf.write import export_gguf
from taut.exporting.onnx.from_file import OnnxRequest, export_graph, export_network, scored
from taut.exporting.result import Check, Export
from taut.exporting.safetensors import check_dtype, export_file, export_folder
from taut.exporting.transformers_network import can_load
from taut.io.names import as_text, nearest
from taut.loading.restore_onnx import is_onnx
from taut.machine import checked_threads
from taut.networks import open_model
from taut.networks.callables import names_callable
from taut.progress import Progress

if TYPE_CHECKING:
    from taut.evaluation.measured_drops import Score
    from taut.networks import CalibrationSpec, ModelSpec

__all__ = ["FORMATS", "Check", "Export", "export", "format_of"]

Format: TypeAlias = Literal["safetensors", "hf", "onnx", "gguf", "compressed-tensors"]
FORMATS: Final[tuple[Format, ...]] = ("safetensors", "hf", "onnx", "gguf", "compressed-tensors")

_FOLDERS: Final = ("hf", "compressed-tensors")
_GOES_WITH: Final[Mapping[str, tuple[Format, ...]]] = {
    "dtype": ("safetensors", "hf"),
    "into": ("hf", "onnx", "gguf", "compressed-tensors"),
    "weights": ("onnx", "gguf", "compressed-tensors"),
    "group_size": ("onnx", "compressed-tensors"),
    "activations": ("onnx", "compressed-tensors"),
    "ranges": ("onnx",),
    "calib": ("onnx",),
    "evaluate": ("hf", "onnx"),
}
# Named by people who want them: why Taut does not write them (docs/export.md).
_NOT_DONE: Final = {
    "coreml": "Core ML runs on Apple's systems alone, so that nothing could be checked here",
    "litert": "LiteRT's converter takes a second framework, TensorFlow, and is not built in",
}
_SUFFIXES: Final[Mapping[str, str]] = {
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".gguf": "gguf",
    ".mlpackage": "coreml",
    ".mlmodel": "coreml",
    ".tflite": "litert",
}
_NO_FOLDER: Final = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".npz", ".npy", ".pb", ".zip")


def export(
    file: str | Path,
    out: str | Path,
    *,
    to: str | None = None,
    into: ModelSpec | None = None,
    dtype: str | None = None,
    weights: str | None = None,
    group_size: int | None = None,
    activations: str | None = None,
    ranges: str | None = None,
    calib: CalibrationSpec | None = None,
    evaluate: Score | None = None,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write the model that a Taut file holds in the format of another runtime.

    The format is the one of `out`'s suffix (`.safetensors`, `.onnx`, `.gguf`; else it is a Hugging
    Face folder), or `to`: one of `FORMATS`. `into` is the original: a folder with its config, an
    nn.Module or `file.py:function` that gives one. `dtype` is of safetensors' floats; `weights`,
    `group_size`, `activations`, `ranges` and `calib` are of the grids of the other formats
    (docs/export.md). What was written is read back, or run, before it gets its name.

    Raises:
        ArgumentError: options do not go with the format, something is missing, or `out` exists.
        FormatError, VerifyError: the file is damaged, or what was written does not read back.
        TautError: the disk is full, or cannot be written for another reason.
    """
    source, target = Path(file), Path(out)
    kind = format_of(target, to)
    _check_options(
        kind,
        dtype=dtype,
        into=into,
        weights=weights,
        group_size=group_size,
        activations=activations,
        ranges=ranges,
        calib=calib,
        evaluate=evaluate,
    )
    check_dtype(dtype)
    _check_places(source, target, kind, into, force)
    opened = TautFile(find_file(source), threads=checked_threads(threads))
    if kind == "safetensors":
        return export_file(opened, target, dtype=dtype, force=force, progress=progress)
    if kind == "onnx":
        request = OnnxRequest(weights, group_size, activations, ranges, calib, evaluate, force)
        return _to_onnx(opened, source, target, into, request)
    companions = _companions(source, into, kind)
    if kind == "gguf":
        return export_gguf(
            opened, target, companions, weights=weights, force=force, progress=progress
        )
    if kind == "compressed-tensors":
        return export_compressed_tensors(
            opened,
            target,
            companions,
            weights=weights,
            group_size=group_size,
            activations=activations,
            force=force,
            progress=progress,
        )
    return export_folder(
        opened,
        target,
        companions,
        dtype=dtype,
        force=force,
        progress=progress,
        judge=lambda folder: _loaded(folder, opened, evaluate),
    )


def format_of(out: Path, to: str | None = None) -> Format:
    """The format that an output's name asks for, or that `to` names.

    Raises:
        ArgumentError: there is no such format, or the name is one of another.

    >>> format_of(Path("net.onnx")), format_of(Path("llama-3.2")), format_of(Path("a"), "gguf")
    ('onnx', 'hf', 'gguf')
    """
    suffix = out.suffix.lower()
    named = to if to is not None else _SUFFIXES.get(suffix, "hf")
    if named in _NOT_DONE:
        raise ArgumentError(f"{out}: {_NOT_DONE[named]}; what there is: {', '.join(FORMATS)}")
    for known in FORMATS:
        if named == known:
            break
    else:
        raise ArgumentError(
            f'to: format "{to}" is unknown; one of {", ".join(FORMATS)}{nearest(named, FORMATS)}'
        )
    if known in _FOLDERS and (suffix in _SUFFIXES or suffix in _NO_FOLDER) and not out.is_dir():
        raise ArgumentError(
            f"{out}: {known} is a folder of files, and {suffix} is a file's suffix; name a folder"
            + ("" if to else ", or a file that ends in .safetensors, .onnx or .gguf")
        )
    if out.name.lower().endswith(".taut.safetensors"):
        raise ArgumentError(f"{out}: is the name of a Taut file; leave .taut out of it")
    return known


def _to_onnx(
    file: TautFile, source: Path, out: Path, into: ModelSpec | None, request: OnnxRequest
) -> Export:
    """ONNX of the graph that the file was made of, or of the network that it belongs to."""
    if is_onnx(file):
        return export_graph(file, out, request)
    described = source if into is None else into
    if isinstance(described, (str, Path)) and Path(described).is_dir():
        return export_network(file, out, described, _companions(source, into, "onnx"), request)
    if into is None:
        raise ArgumentError(
            f"into (--model): {source} holds tensors alone, and ONNX is a network's; give the "
            "original's folder, or file.py:function that gives the module"
        )
    return export_network(file, out, into, None, request)


def _check_options(kind: Format, **given: object) -> None:
    for name, value in given.items():
        if value is not None and kind not in _GOES_WITH[name]:
            option = {"into": "model", "evaluate": "eval"}.get(name, name.replace("_", "-"))
            raise ArgumentError(
                f"{name} (--{option}) goes with {', '.join(_GOES_WITH[name])}, and this is {kind}"
            )


def _check_places(
    source: Path, target: Path, kind: Format, into: ModelSpec | None, force: bool
) -> None:
    """Nothing is written over or into what is read, nor under a name that a writer cannot take."""
    if kind != "safetensors" and as_text(str(target)) != str(target):
        raise ArgumentError(f"{target}: is not valid Unicode, which {kind} wants; name another")
    inputs = [source]
    if isinstance(into, (str, Path)) and not names_callable(str(into)):
        inputs.append(Path(into))
    real = Path(os.path.realpath(target))
    for path in inputs:
        if not path.exists():
            continue
        given = Path(os.path.realpath(path))
        if real == given:
            raise ArgumentError(f"{target}: is an input; name another")
        if given.is_dir() and given in real.parents and kind in _FOLDERS:
            raise ArgumentError(f"{target}: lies in the folder {path}, which is read; name another")
    if kind in _FOLDERS:
        check_folder(target, force=force)
    else:
        check_destination(target, force=force)


def _companions(source: Path, into: ModelSpec | None, kind: Format) -> Path:
    """The folder whose config and tokenizer the export takes."""
    folders = [source]
    if isinstance(into, (str, Path)):
        if not Path(into).is_dir():
            raise ArgumentError(f"into (--model): {into} is no folder, which {kind} takes its "
                                "config from")  # fmt: skip
        folders = [Path(into), source]
    elif into is not None:
        raise ArgumentError(f"into: {kind} takes the original's folder, for its config")
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    raise ArgumentError(
        f"{folders[0]}: no config.json, which {kind} needs; give the original's folder with "
        "--model (into=), or name an output that ends in .safetensors"
    )


def _loaded(folder: Path, file: TautFile, evaluate: Score | None) -> tuple[str, ...]:
    """Load the folder as its user will; what transformers made of it, as notes.

    Raises:
        VerifyError: it cannot be loaded.
    """
    if evaluate is None and not can_load():
        return ("transformers (and torch) is not installed, and was not asked to load the folder",)
    if not evaluate and 2 * (need := _nbytes(file)) > psutil.virtual_memory().available:
        return (f"not loaded by transformers: that takes {need / 1e9:.0f} GB of memory",)
    try:
        loaded = open_model(folder)
    except ArgumentError as error:
        pruned = "; it was pruned, and its config says the old widths" if file.modules else ""
        raise VerifyError(f"{error}{pruned}; export a .safetensors file, which needs no config"
                          ) from error  # fmt: skip
    notes = [f"transformers {version('transformers')} loads it: {len(loaded.names)} tensors, each "
             "with the values of the file"]  # fmt: skip
    for names, told in ((loaded.unmapped, "are not in its network"),
                        (loaded.missing, "of its network are not in the file")):  # fmt: skip
        if names:
            notes.append(f"{len(names)} tensors {told}: {', '.join(names[:3])}")
    if evaluate is not None:
        name, value = scored(loaded.module, evaluate)
        notes.append(f"{name} {value:.4f}")
    return tuple(notes)


def _nbytes(file: TautFile) -> int:
    """What the network takes as float32, in bytes."""
    return sum(4 * prod(info.shape) for info in file.infos)
