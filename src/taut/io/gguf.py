"""GGUF files as a lazy source: each tensor's blocks as bytes, and the rest of the files.

A quantised tensor is a U8 tensor of its rows of blocks (`RecordsInfo` tells the coder how they are
laid out), any other has its own dtype. What is beside the tensors (metadata, the list of tensors,
padding) is one more tensor, so that the files come back byte for byte. A model that was split
(`name-00001-of-00003.gguf`) is one source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_recipe import MAX_LITERAL, Hole, RecipeFile, literal_of, pack_recipe
from taut.io.dtypes import storage
from taut.io.ggml_layouts import layout_of
from taut.io.gguf_header import GgufHeader, GgufTensor, read_gguf_header
from taut.io.in_memory import Entry, MemorySource, memory_source
from taut.io.names import as_text
from taut.io.records_info import RecordsInfo
from taut.io.stamp import StillFile
from taut.io.tensor_info import TensorInfo

FRAME: Final = "taut.gguf"
"""The key of the metadata that names the tensor with what is beside the tensors."""

_USUAL: Final = "gguf.frame"
_SPLIT: Final = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_LONGEST_ROW: Final = 1 << 22  # bytes of a row that the coder takes


class GgufFile:
    """One file: its header, and its bytes."""

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)
        self._file = StillFile(path, self.where)
        self.nbytes, self.stamp = self._file.nbytes, self._file.stamp
        self.header: GgufHeader = read_gguf_header(self.bytes, self.nbytes, self.where)

    def bytes(self, begin: int, end: int) -> bytes:
        """Some of its bytes."""
        return self._file.read(begin, end).tobytes()

    def read(self, tensor: GgufTensor, begin: int, end: int) -> np.ndarray:
        """Bytes of a tensor, in memory of their own."""
        return self._file.read(tensor.start + begin, tensor.start + end)

    @property
    def placed(self) -> list[GgufTensor]:
        """Its tensors in the order of their data."""
        return sorted(self.header.tensors, key=lambda one: one.start)

    def recipe(self) -> RecipeFile:
        """The file without its tensors."""
        holes = tuple(
            Hole(one.start, one.start + one.nbytes, one.name, "raw")
            for one in self.placed
            if one.nbytes
        )
        left = self.nbytes - sum(hole.end - hole.begin for hole in holes)
        if left > MAX_LITERAL:
            raise FormatError(
                f"{self.where}: has {left:,} bytes beside its tensors, which is no model"
            )
        literal = literal_of(self.bytes, self.nbytes, holes)
        return RecipeFile(as_text(self.path.name), self.nbytes, holes, literal)


@dataclass(frozen=True)
class GgufSource(MemorySource):
    """The tensors of GGUF files, in the order of their data; the last is all else.

    `fixed` are what is never rounded: bytes are no weights.
    """

    opened: tuple[GgufFile, ...] = ()
    fixed: frozenset[str] = frozenset()

    @property
    def tensors(self) -> tuple[GgufTensor, ...]:
        """The tensors as the files' headers have them, in the order of their data."""
        return tuple(one for file in self.opened for one in file.placed)


def open_gguf(path: Path) -> GgufSource:
    """Open a GGUF file, or all files of one that was split.

    Raises:
        FormatError: a file is damaged, hostile, or of an unknown type or version.
        ArgumentError: there are no tensors, or a file of several is missing.
    """
    files = tuple(GgufFile(one) for one in split_paths(path))
    _check_split(files, path)
    entries = [_entry(file, tensor) for file in files for tensor in file.placed]
    names = [entry.info.name for entry in entries]
    _check_entries(entries, names, path)
    frame = unused(_USUAL, names)
    packed = np.frombuffer(pack_recipe(tuple(file.recipe() for file in files)), np.uint8)
    info = TensorInfo(frame, "U8", packed.shape, packed.nbytes)
    source = memory_source(
        [*entries, Entry(info, None, lambda: packed)],
        str(path),
        nbytes=sum(file.nbytes for file in files),
    )
    return GgufSource(
        source.entries,
        source.aliases,
        source.nbytes,
        source.identity,
        metadata={FRAME: frame},
        stamps=tuple(file.stamp for file in files),
        opened=files,
        fixed=frozenset([frame]),
    )


def _check_entries(entries: list[Entry], names: list[str], path: Path) -> None:
    if not any(entry.info.nbytes for entry in entries):
        raise ArgumentError(f"{path}: has no tensors, only metadata (a vocabulary, perhaps)")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f'{path}: tensor "{twice[:80]}" is in two of its files')


def split_paths(path: Path) -> list[Path]:
    """The files of a model that was split, in order; the path alone of any other.

    Raises:
        ArgumentError: some of them are missing.
    """
    match = _SPLIT.fullmatch(path.name)
    if match is None or not 0 < int(match[3]) <= 99_999:
        return [path]
    end = path.name[len(match[1]) + len("-00001") :]
    names = [f"{match[1]}-{number:05}{end}" for number in range(1, int(match[3]) + 1)]
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ArgumentError(
            f"{path}: is one of {len(names)} files, of which {', '.join(missing[:3])}{more} "
            "are not beside it; fetch them too"
        )
    return [path.parent / name for name in names]


def _check_split(files: tuple[GgufFile, ...], path: Path) -> None:
    """Raise `ArgumentError` for a part of a split model under a name that does not say so."""
    for file in files:
        count = file.header.number("split.count")
        if count is not None and count > 1 and count != len(files):
            raise ArgumentError(
                f"{file.where}: is a part of a model of {count} files, which are found by names "
                f"such as {path.stem}-00001-of-{count:05}.gguf; give it back its name"
            )


def unused(name: str, taken: Collection[str]) -> str:
    """The name, or the first of its like, that no tensor has."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}.{number}"
    return found


def tensor_info(tensor: GgufTensor) -> TensorInfo:
    """A tensor as a Taut file has it: its own dtype, or the bytes of its blocks.

    >>> from taut.io.ggml_types import GGML_TYPES
    >>> tensor_info(GgufTensor("w", GGML_TYPES[8], (10, 64), 0, 680)).shape
    (10, 68)
    """
    if tensor.type.dtype:
        return TensorInfo(tensor.name, tensor.type.dtype, tensor.shape, tensor.nbytes)
    row = tensor.shape[-1] // tensor.type.block * tensor.type.nbytes
    shape = (*tensor.shape[:-1], row)
    layout = layout_of(tensor.type.name)
    if layout is None or not 0 < row <= _LONGEST_ROW:
        return TensorInfo(tensor.name, "U8", shape, tensor.nbytes)
    return RecordsInfo(tensor.name, "U8", shape, tensor.nbytes, layout, row, prod(tensor.shape))


def _entry(file: GgufFile, tensor: GgufTensor) -> Entry:
    info, read = tensor_info(tensor), _reader(file, tensor)
    count = tensor.nbytes // _width(info)
    return Entry(info, None, lambda: read(0, count).reshape(info.shape), read)


def _reader(file: GgufFile, tensor: GgufTensor) -> Callable[[int, int], np.ndarray]:
    info = tensor_info(tensor)
    dtype, width = storage(info.dtype, info.shape)[0], _width(info)

    def read(begin: int, end: int) -> np.ndarray:
        return file.read(tensor, begin * width, end * width).view(dtype)

    return read


def _width(info: TensorInfo) -> int:
    return storage(info.dtype, info.shape)[0].itemsize
