"""PyTorch's checkpoint files, one or several of a model, as a lazy source.

Surprises first. A checkpoint file is a pickle: it is read by torch's restricted reader
(`weights_only=True`) alone, and only from torch 2.6 on, since that reader ran code before
(CVE-2025-32434).
"""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.extras import need_extra
from taut.io.checkpoint_parts import CheckpointPart, choose_part
from taut.io.checksums import checked_once
from taut.io.content import first_bytes, why_foreign
from taut.io.foreign import why_pickled
from taut.io.in_memory import Entry, MemorySource, memory_source
from taut.io.inert import stand_ins
from taut.io.names import as_text
from taut.io.nest import nest_entries, nested
from taut.io.pytorch import part_entry
from taut.io.shard_index import read_index, shard_paths, take_listed
from taut.io.stamp import Stamp, copied, stamp_of

_REFUSED: Final = (
    "only a reader that runs code could load it. If you trust the file: "
    'def model(): return torch.load("{name}", weights_only=False) in a build.py, and give '
    "build.py:model; or save its state_dict()"
)
_OF_A_SCRIPT: Final = (
    " (its class was defined in the script that saved it: in build.py too, from SCRIPT import "
    "{name}, then import __main__; __main__.{name} = {name})"
)
_OLD: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # its files before 1.6 begin with this number
_BLOCKED: Final = re.compile(r"GLOBAL ([\w.]+)")


def open_checkpoint(
    path: Path, companions: tuple[Path, ...] = (), *, key: str | None = None
) -> MemorySource:
    """The state dict in a PyTorch file, mapped where torch can.

    Of a training's checkpoint it is the part that is the model's, or that `key` names
    (checkpoint_parts.py).

    Raises:
        FormatError: the restricted reader refuses the file: damaged, or it wants to run code.
        ArgumentError: no torch, no such file, or something else than a state dict is in it.
    """
    entries, stamp, part = _entries(path, key)
    nbytes = stamp.nbytes if part.whole else None  # else that of the tensors that are taken
    source = memory_source(
        [*entries, *nest_entries(part.nest)],
        str(path),
        nbytes=nbytes,
        companions=companions,
        stamps=(stamp,),
    )
    return replace(nested(source, part.nest), notes=part.notes)


def open_sharded_checkpoint(
    path: Path, companions: tuple[Path, ...] = (), *, strict: bool = False
) -> MemorySource:
    """The shards that a `pytorch_model.bin.index.json` lists; they lie beside it.

    Raises:
        FormatError, ArgumentError: as `open_checkpoint` and `taut.io.safetensors.open_sharded`.
    """
    weight_map = read_index(path)
    stamps = [stamp_of(path)]
    held: dict[str, list[Entry]] = {}
    for shard in shard_paths(path, weight_map):
        held[shard.name], stamp, _ = _entries(shard)
        stamps.append(stamp)
    names = {shard: [entry.info.name for entry in entries] for shard, entries in held.items()}
    found = take_listed(path, weight_map, names, strict=strict)
    pairs = ((shard, entry) for shard, entries in held.items() for entry in entries)
    taken = [entry for shard, entry in pairs if found.shards.get(entry.info.name) == shard]
    nbytes = sum(stamp.nbytes for stamp in stamps[1:]) if found.whole else None
    source = memory_source(
        taken, str(path), nbytes=nbytes, companions=companions, stamps=tuple(stamps)
    )
    return replace(source, notes=found.notes)


def _entries(path: Path, key: str | None = None) -> tuple[list[Entry], Stamp, CheckpointPart]:
    """The tensors of a checkpoint, what the file was when it was opened, and the part they are.

    Where torch maps it, each is copied when it is loaded.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file")
    stamp = stamp_of(path)
    if (why := why_foreign(first_bytes(path), path)) is not None:
        raise FormatError(f"{path}: {why}")
    state, mapped = _load(path)
    part = choose_part(state, key, str(path))
    entries = [part_entry(name, value) for name, value in part.tensors.items()]
    check = checked_once(path)
    return [_copying(entry, stamp, check, mapped=mapped) for entry in entries], stamp, part


def _copying(entry: Entry, stamp: Stamp, check: Callable[[], None], *, mapped: bool) -> Entry:
    """The entry, whose file is compared with its checksums before the first tensor is loaded."""

    def load() -> np.ndarray:
        if mapped:
            stamp.check()
        check()
        return copied(entry.load(), str(stamp.path)) if mapped else entry.load()

    def read(begin: int, end: int) -> np.ndarray:
        stamp.check()
        check()
        assert entry.read is not None  # where this is asked for
        return copied(entry.read(begin, end), str(stamp.path))

    return replace(entry, load=load, read=read if mapped and entry.read is not None else None)


def _load(path: Path) -> tuple[object, bool]:
    """What is in a checkpoint, and whether it is mapped."""
    first = first_bytes(path)
    zipped = first.startswith(b"PK\x03\x04")  # before torch 1.6 they were not
    if first[:1] == b"\x80" and _OLD not in first[:32]:
        raise FormatError(f"{path}: {why_pickled(path)}")
    torch = _import_torch(path)
    # torch takes no names but Unicode's, and one that ends so for another format.
    mapped = zipped and as_text(str(path)) == str(path) and path.suffix != ".safetensors"
    if zipped and not zipfile.is_zipfile(path):
        raise FormatError(
            f"{path}: is cut short: the end of its zip archive is missing; fetch it again"
        )
    try:
        with _reading(torch), path.open("rb") as file:
            read = str(path) if mapped else file
            return torch.load(read, map_location="cpu", weights_only=True, mmap=mapped), mapped
    except Exception as error:  # torch names no set of errors for a damaged file
        if type(error).__name__ == "UnpicklingError":  # not imported: nothing here may unpickle
            how = _REFUSED.format(name=path.name) + _of_a_script(error)
            raise FormatError(f"{path}: refused: {_blocked(error)}; {how}") from None
        raise FormatError(
            f"{path}: is damaged, or no PyTorch checkpoint ({type(error).__name__} of torch); "
            "fetch or save it again"
        ) from None


@contextlib.contextmanager
def _reading(torch: ModuleType) -> Iterator[None]:
    """Reading with the stand-ins of inert.py; what torch thinks of old ways to save is left out."""
    with torch.serialization.safe_globals(stand_ins()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _blocked(error: BaseException) -> str:
    """What the file names that is not called, if the reader says it."""
    if found := _BLOCKED.search(str(error)):
        return f"it holds more than plain tensors, an object of {found[1]}"
    return "it is damaged, or holds more than plain tensors"


def _of_a_script(error: BaseException) -> str:
    """What it takes to load an object whose class no module has but a script."""
    found = _BLOCKED.search(str(error))
    home, _, name = found[1].rpartition(".") if found else ("", "", "")
    return _OF_A_SCRIPT.format(name=name) if home == "__main__" else ""


def _import_torch(path: Path) -> ModuleType:
    torch = need_extra("torch", "torch", f"{path}: to read this file takes")
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise ArgumentError(
            f"{path}: torch {torch.__version__} can run code hidden in such a file "
            "(CVE-2025-32434); pip install -U 'taut[torch]' for 2.6 or later"
        )
    return torch
