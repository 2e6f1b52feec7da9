"""PyTorch's checkpoint files, one or several of a model, as a lazy source.

Surprises first. A checkpoint file is a pickle: it is read by torch's restricted reader
(`weights_only=True`) alone, and only from torch 2.6 on, since that reader ran code before
(CVE-2025-32434).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.extras import need_extra
from taut.io.in_memory import Entry, MemorySource, memory_source
from taut.io.names import as_text
from taut.io.pytorch import state_entries
from taut.io.safetensors import check_complete, check_shard, read_index
from taut.io.stamp import Stamp, copied, stamp_of

_REFUSED: Final = (
    "it is damaged, or holds more than plain tensors, which only a reader that runs code could "
    "load. If you trust the file, load it yourself and pass model.state_dict()"
)


def open_checkpoint(path: Path, companions: tuple[Path, ...] = ()) -> MemorySource:
    """The state dict in a `.bin`, `.pt` or `.pth` file, mapped where torch can.

    Raises:
        FormatError: the restricted reader refuses the file: damaged, or it wants to run code.
        ArgumentError: no torch, no such file, or something else than a state dict is in it.
    """
    entries, stamp = _entries(path)
    nbytes = stamp.nbytes
    return memory_source(entries, str(path), nbytes=nbytes, companions=companions, stamps=(stamp,))


def open_sharded_checkpoint(path: Path, companions: tuple[Path, ...] = ()) -> MemorySource:
    """The shards that a `pytorch_model.bin.index.json` lists; they lie beside it.

    Raises:
        FormatError, ArgumentError: as `open_checkpoint` and `taut.io.safetensors.open_sharded`.
    """
    stamps = [stamp_of(path)] if path.is_file() else []
    weight_map = read_index(path)
    entries: list[Entry] = []
    found: dict[str, str] = {}
    nbytes = 0
    for name in sorted(set(weight_map.values())):
        shard = path.parent / name
        held, stamp = _entries(shard)
        check_shard(path, weight_map, name, (entry.info.name for entry in held), found)
        entries += held
        nbytes += stamp.nbytes
        stamps.append(stamp)
    check_complete(path, weight_map, found)
    return memory_source(
        entries, str(path), nbytes=nbytes, companions=companions, stamps=tuple(stamps)
    )


def _entries(path: Path) -> tuple[list[Entry], Stamp]:
    """The tensors of a checkpoint, and what the file was when it was opened.

    Where torch maps it, each is copied when it is loaded.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    stamp = stamp_of(path)
    state, mapped = _load(path)
    entries = state_entries(state, str(path))
    return ([_copying(entry, stamp) for entry in entries] if mapped else entries), stamp


def _copying(entry: Entry, stamp: Stamp) -> Entry:
    def load() -> np.ndarray:
        stamp.check()
        return copied(entry.load(), str(stamp.path))

    return replace(entry, load=load)


def _load(path: Path) -> tuple[Mapping[str, object], bool]:
    """What is in a checkpoint, and whether it is mapped."""
    torch = _import_torch(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"  # files from before torch 1.6 cannot be mapped
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        mapped = zipped and as_text(str(path)) == str(path)  # torch takes no other names
        with path.open("rb") as file:
            read = str(path) if mapped else file
            state = torch.load(read, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch names no set of errors for a damaged file
        if type(error).__name__ == "UnpicklingError":  # not imported: nothing here may unpickle
            raise FormatError(f"{path}: refused: {_REFUSED} ({_first_line(error)})") from None
        raise FormatError(f"{path}: not a PyTorch checkpoint ({_first_line(error)})") from None
    if not isinstance(state, Mapping):
        raise ArgumentError(f"{path}: holds a {type(state).__name__}, not a state dict of tensors")
    return state, mapped


def _import_torch(path: Path):  # type: ignore[no-untyped-def]  # the module itself
    torch = need_extra("torch", "torch", f"{path}: to read this file takes")
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise ArgumentError(
            f"{path}: torch {torch.__version__} can run code hidden in such a file "
            "(CVE-2025-32434); pip install -U 'taut[torch]' for 2.6 or later"
        )
    return torch


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
