"""GGUF files as the numbers that their blocks stand for: what is rounded anew, or looked at.

The frame is that of files that hold float32 instead: the metadata as it was, each tensor's type and
place anew. So a lossy Taut file gives back GGUF with all metadata, and its own values.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np

from taut.errors import ArgumentError
from taut.io._onnx_recipe import Hole, RecipeFile, pack_recipe
from taut.io.ggml_types import GGML_TYPES, GgmlType
from taut.io.ggml_values import dequantized, need_reader
from taut.io.gguf import FRAME, GgufFile, GgufSource
from taut.io.gguf_header import MAGIC, GgufHeader, GgufTensor
from taut.io.in_memory import Entry, MemorySource
from taut.io.names import as_text
from taut.io.tensor_info import TensorInfo

FILE_TYPE: Final = "general.file_type"
"""The entry of the metadata that says what most tensors are; 0 stands for float32."""

_F32: Final = 0
_NUMBERS: Final = {one.name: number for number, one in GGML_TYPES.items()}


@dataclass(frozen=True)
class GgufFloats(MemorySource):
    """The tensors of GGUF files, quantised ones as float32; `fixed` is the frame."""

    fixed: frozenset[str] = frozenset()


def gguf_as_floats(source: GgufSource) -> GgufFloats:
    """The numbers that the blocks of GGUF stand for, and the frame of files that hold them.

    Raises:
        ArgumentError: a type cannot be read as numbers, or not without the `gguf` package; or the
            files are of version 1.
    """
    need_reader((one.type for one in source.tensors), source.identity)
    frame = source.metadata[FRAME]
    packed = np.frombuffer(pack_recipe(tuple(map(_recipe, source.opened))), np.uint8)
    info = TensorInfo(frame, "U8", packed.shape, packed.nbytes)
    return GgufFloats(
        {**float_entries(source), frame: Entry(info, None, lambda: packed)},
        source.aliases,
        source.nbytes,
        source.identity,
        metadata=source.metadata,
        stamps=source.stamps,
        notes=(*source.notes, *_told(source)),
        fixed=source.fixed,
    )


def float_entries(source: GgufSource) -> dict[str, Entry]:
    """The tensors of GGUF files, quantised ones as float32; without the frame."""
    return {one.name: _as_float(source.entries[one.name], one) for one in source.tensors}


def quantised_types(tensors: Iterable[GgufTensor]) -> dict[str, str]:
    """The types of quantised tensors, as ggml names them, by the tensors' names."""
    return {one.name: one.type.name for one in tensors if not one.type.dtype}


def _told(source: GgufSource) -> tuple[str, ...]:
    """A note of what is read as float32."""
    read = Counter(quantised_types(source.tensors).values())
    if not read:
        return ()
    told = ", ".join(f"{count} of {name}" for name, count in read.most_common())
    return (f"quantised tensors are read as float32: {told}",)


def _as_float(entry: Entry, tensor: GgufTensor) -> Entry:
    kind = tensor.type
    if kind.dtype:
        return entry
    info = TensorInfo(tensor.name, "F32", tensor.shape, 4 * prod(tensor.shape))
    return Entry(info, None, _loader(entry, kind, tensor), _reader(entry, kind, tensor.name))


def _loader(entry: Entry, kind: GgmlType, tensor: GgufTensor) -> Callable[[], np.ndarray]:
    return lambda: dequantized(entry.load(), kind, tensor.name).reshape(tensor.shape)


def _reader(entry: Entry, kind: GgmlType, name: str) -> Callable[[int, int], np.ndarray] | None:
    """What reads some values, whole blocks at a time."""
    if (stored := entry.read) is None:
        return None

    def read(begin: int, end: int) -> np.ndarray:
        first, last = begin // kind.block, -(-end // kind.block)
        blocks = stored(first * kind.nbytes, last * kind.nbytes).reshape(-1, kind.nbytes)
        values = dequantized(blocks, kind, name).reshape(-1)
        return values[begin - first * kind.block : end - first * kind.block]

    return read


def _recipe(file: GgufFile) -> RecipeFile:
    """The frame of the file with float32 in the place of blocks."""
    if file.header.version == 1:
        raise ArgumentError(
            f"{file.where}: is GGUF of version 1, which is kept bit for bit, but not written anew; "
            "convert it to version 3 to round it"
        )
    tensors = [
        one if one.type.dtype else replace(one, type=GGML_TYPES[_F32], nbytes=4 * prod(one.shape))
        for one in file.placed
    ]
    head, placed = gguf_head(file.header, file.bytes, tensors, file_type=_F32)
    holes = tuple(
        Hole(one.start, one.start + one.nbytes, one.name, "raw") for one in placed if one.nbytes
    )
    literal, at = bytearray(head), len(head)
    for hole in holes:
        literal += bytes(hole.begin - at)
        at = hole.end
    end = -(-at // file.header.alignment) * file.header.alignment
    literal += bytes(end - at)
    return RecipeFile(as_text(file.path.name), end, holes, bytes(literal))


def gguf_head(
    header: GgufHeader,
    read: Callable[[int, int], bytes],
    tensors: list[GgufTensor],
    *,
    file_type: int,
) -> tuple[bytes, list[GgufTensor]]:
    """The head of a file with the metadata of another one, and its tensors where they then lie.

    `read` gives the bytes of the other file, whose `header` is given; of what it says of itself
    `general.file_type` alone is set anew. The head ends where the first tensor begins.
    """
    keys = bytearray(read(header.keys_begin, header.keys_end))
    told = header.keys.get(FILE_TYPE)
    if told is not None and told.end - told.begin == 4 and type(told.value) is int:
        at = told.begin - header.keys_begin
        keys[at : at + 4] = struct.pack("<I", file_type)
    parts: list[bytes | bytearray] = [
        MAGIC,
        struct.pack("<IQQ", header.version, len(tensors), len(header.keys)),
        keys,
    ]
    offset, offsets = 0, []
    for one in tensors:
        offset = -(-offset // header.alignment) * header.alignment
        offsets.append(offset)
        name = one.name.encode()
        parts += [struct.pack("<Q", len(name)), name, struct.pack("<I", len(one.shape))]
        parts += [struct.pack("<Q", size) for size in one.shape[::-1]]
        parts.append(struct.pack("<IQ", _NUMBERS[one.type.name], offset))
        offset += one.nbytes
    head = b"".join(parts)
    head += bytes(-len(head) % header.alignment)
    placed = [replace(one, start=len(head) + at) for one, at in zip(tensors, offsets, strict=True)]
    return head, placed
