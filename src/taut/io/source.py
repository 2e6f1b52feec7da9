"""Opens whatever holds a model as one `Source`: the door to this room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from taut.errors import ArgumentError
from taut.io.checkpoint_parts import ALL, WholeCheckpoint, choose_part
from taut.io.content import Kind, kind_of
from taut.io.folder_files import read_folder
from taut.io.foreign import SUFFIXES, filled
from taut.io.gguf import FRAME, open_gguf
from taut.io.hub import find_weights
from taut.io.in_memory import Entry, MemorySource, Tagged, memory_source, numpy_entry
from taut.io.model_file import ModelFile
from taut.io.names import check_plain, nearest, pattern_hint
from taut.io.nest import NEST, holds_tensors, nest_entries, nested
from taut.io.onnx import GRAPH, open_onnx
from taut.io.pytorch import (
    is_module,
    is_tensor,
    open_module,
    state_entries,
    torch_entry,
)
from taut.io.records_info import values_of
from taut.io.safetensors import SafetensorsSource, open_safetensors, open_sharded
from taut.io.stores import store_hint
from taut.io.suffixes import CHECKPOINT_SUFFIXES, names_checkpoint
from taut.io.tensor_info import Source, SourceFile, TensorInfo
from taut.io.torch_files import open_checkpoint, open_sharded_checkpoint
from taut.io.tree import TREE_NAME, is_tree, open_tree
from taut.io.wrappers import refuse_programs

if TYPE_CHECKING:
    import torch

Opened: TypeAlias = "MemorySource | SafetensorsSource"

__all__ = ["Source", "SourceFile", "TensorInfo", "open_source"]


def open_source(
    model: str
    | Path
    | ModelFile
    | Mapping[str, np.ndarray]
    | Mapping[str, torch.Tensor]
    | torch.nn.Module,
) -> Source:
    """Open a model as a lazy, ordered sequence of named tensors.

    `model` is a `.safetensors` file, a `*.safetensors.index.json`, a Hugging Face folder, a
    checkpoint of PyTorch, an `.onnx` model, a `.gguf` file (any one of a split model), an
    nn.Module, or a dict of arrays or tensors. What a file holds decides, not its name. A
    `ModelFile` says what to take of one.

    Raises:
        ArgumentError: there is no such model, or it cannot be stored; the message says what to do.
        FormatError: a file is damaged, hostile, or no model (a page, a pointer).

    >>> open_source({"w": np.zeros((2, 3), np.float16)}).infos
    (TensorInfo(name='w', dtype='F16', shape=(2, 3), nbytes=12),)
    """
    if isinstance(model, (str, Path)):
        model = ModelFile(Path(model))
    if isinstance(model, ModelFile):
        try:
            return _open_path(model)
        except OSError as error:
            raise ArgumentError(f"{model}: cannot be read ({error.strerror})") from error
    if is_module(model):
        return open_module(model)
    if isinstance(model, Mapping):
        return open_mapping(model)
    refuse_programs(model)
    raise ArgumentError(
        f"a {type(model).__name__} is no model; pass a path, a dict of arrays or an nn.Module"
    )


def open_whole(model: str | Path | Mapping[str, object]) -> Source:
    """As `open_source`; of a checkpoint of PyTorch, or a dict of dicts, all that is in it.

    Raises:
        ArgumentError, FormatError: as `open_source`.
    """
    if isinstance(model, Mapping):
        return open_mapping(model, ALL if any(map(_holds_more, model.values())) else None)
    path = Path(model)
    checkpoint = path.is_file() and kind_of(path) == "checkpoint"
    return open_source(ModelFile(path, ALL if checkpoint else None))


def open_mapping(model: Mapping[str, object], key: str | None = None) -> MemorySource:
    """The tensors of a dict, or, where it is a training's checkpoint, of the part that is a model.

    Raises:
        ArgumentError: there is no such part, or several (`taut.io.checkpoint_parts`).
    """
    notes, nest = tuple[str, ...](), None
    metadata = model.metadata if isinstance(model, Tagged) else {}
    if isinstance(model, WholeCheckpoint):
        model, key = model.held, ALL
    if key is not None or any(map(_holds_more, model.values())):
        part = choose_part(model, key, f"dict of {len(model)} entries")
        model, notes, nest = part.tensors, part.notes, part.nest
    identity = f"dict of {len(model)} tensors"
    entries = [_entry(name, value, identity) for name, value in model.items()]
    source = memory_source([*entries, *nest_entries(nest)], identity)
    source = replace(source, metadata={**source.metadata, **metadata})
    return replace(nested(source, nest), notes=notes)


def _holds_more(value: object) -> bool:
    """Whether what a dict holds is no tensor, but holds some, or is a part of a checkpoint."""
    return isinstance(value, Mapping) or (isinstance(value, list) and holds_tensors(value))


def _entry(name: object, value: object, identity: str) -> Entry:
    if isinstance(name, str) and isinstance(value, (np.ndarray, np.generic)):
        return numpy_entry(name, value)
    if isinstance(name, str) and is_tensor(value):
        return torch_entry(name, value)
    return state_entries({name: value}, identity)[0]  # type: ignore[dict-item]  # raises


def _open_path(model: ModelFile) -> Opened:
    path = model.path
    if (path / TREE_NAME).is_file():
        raise ArgumentError(
            f"{path}: is a Taut folder already; decompress it first to code it anew"
        )
    if path.is_dir() and is_tree(path):
        _check_no_key(model)
        return open_tree(path, strict=model.strict)
    if path.is_dir():
        weights = find_weights(path)
        files = read_folder(path, weights)
        opened = _open_file(replace(model, path=weights), files.companions)
        return replace(opened, notes=(*opened.notes, *files.notes))
    if not path.exists():
        raise ArgumentError(f"{path}: no such file or folder{_nearest_path(path)}")
    check_plain(path)
    return _open_file(model, ())


def _open_file(model: ModelFile, companions: tuple[Path, ...]) -> Opened:
    path, strict, name = model.path, model.strict, model.path.name.lower()
    if name.endswith(".index.json"):
        _check_no_key(model)
        sharded = open_sharded_checkpoint if name.endswith(".bin.index.json") else open_sharded
        return sharded(path, companions, strict=strict)
    kind = kind_of(path) or _kind_by_name(path)
    if kind == "checkpoint":
        return open_checkpoint(path, companions, key=model.key)
    _check_no_key(model)
    if kind == "gguf":
        return open_gguf(path)
    return open_safetensors(path, companions) if kind == "safetensors" else open_onnx(path)


def _check_no_key(model: ModelFile) -> None:
    if model.key is not None:
        raise ArgumentError(
            f"{model}: key (--key) {model.key!r}: names a part of a PyTorch checkpoint, and this "
            "is none; leave it out"
        )


def _kind_by_name(path: Path) -> Kind:
    """What a file that cannot be told by its bytes is to be: a damaged one, as its name says."""
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return "safetensors"
    if names_checkpoint(path):
        return "checkpoint"
    if suffix == ".onnx":
        return "onnx"
    if suffix == ".gguf":
        return "gguf"
    if suffix in SUFFIXES:
        raise ArgumentError(f"{path}: {filled(SUFFIXES[suffix], path)}")
    raise ArgumentError(
        f'{path}: neither its bytes nor the suffix "{path.suffix}" are of a format read here '
        f"(.safetensors, .safetensors.index.json, {', '.join(CHECKPOINT_SUFFIXES)}, .onnx, "
        f".gguf, or a model folder); rename it if it is one of these"
    )


def _nearest_path(path: Path) -> str:
    """The names beside a missing path that it may have meant, or how to fetch a model of a hub."""
    if hint := pattern_hint(path) or store_hint(path):
        return hint
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        beside = []
    found = nearest(path.name, beside)
    if not found and len(path.parts) == 2 and not path.is_absolute() and not path.suffix:
        return f"; to fetch it from the Hugging Face hub: hf download {path.as_posix()}"
    return found


def fixed_of(source: Source) -> frozenset[str]:
    """The tensors that are no weights, and are not rounded unless a plan names them."""
    return frozenset(getattr(source, "fixed", ()))


def parameters_of(source: Source) -> int:
    """How many values the model has, tied ones once; what is beside the tensors is none."""
    beside = {*source.aliases, *(source.metadata.get(key) for key in (GRAPH, FRAME, NEST))}
    return sum(values_of(i) for i in source.infos if i.name not in beside)


def notes_of(source: Source) -> tuple[str, ...]:
    """What was found otherwise than expected, or left out, when a source was opened."""
    return tuple(getattr(source, "notes", ()))
