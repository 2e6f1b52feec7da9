"""A GGUF model that was split, as one file: the first one's metadata, and the tensors of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.gguf import GgufSource
from taut.io.gguf_floats import FILE_TYPE, gguf_head
from taut.io.gguf_header import GgufHeader, GgufValue

_SPLIT: Final = "split."  # begins the entries that say how a model was split
_PIECE: Final = 1 << 24  # bytes that are copied at a time


def write_merged(source: GgufSource, target: Path) -> None:
    """Write the files of a split model as one, as llama-gguf-split --merge does.

    Raises:
        ArgumentError: they are of version 1.
        OSError: it cannot be written.
    """
    first = source.opened[0]
    if first.header.version == 1:
        raise ArgumentError(
            f"{first.where}: is GGUF of version 1 in several files; convert it to version 3 first"
        )
    header, keys = _alone(first.header, first.bytes(first.header.keys_begin, first.header.keys_end))
    tensors = list(source.tensors)
    file_type = header.number(FILE_TYPE) or 0
    head, placed = gguf_head(header, lambda *_: keys, tensors, file_type=file_type)
    owners = {one.name: file for file in source.opened for one in file.header.tensors}
    with target.open("xb") as out:
        out.write(head)
        for old, new in zip(tensors, placed, strict=True):
            out.write(bytes(new.start - out.tell()))
            for begin in range(0, old.nbytes, _PIECE):
                end = min(old.nbytes, begin + _PIECE)
                out.write(owners[old.name].read(old, begin, end).tobytes())
        out.write(bytes(-out.tell() % header.alignment))


def _alone(header: GgufHeader, keys: bytes) -> tuple[GgufHeader, bytes]:
    """The header without what says how the model was split, and the bytes of its metadata."""
    kept: dict[str, GgufValue] = {}
    parts: list[bytes] = []
    at = header.keys_begin
    for name, value in header.keys.items():
        entry = keys[at - header.keys_begin : value.end - header.keys_begin]
        if not name.startswith(_SPLIT):
            moved = header.keys_begin + sum(len(part) for part in parts) - at
            kept[name] = replace(value, begin=value.begin + moved, end=value.end + moved)
            parts.append(entry)
        at = value.end
    return replace(header, keys=kept), b"".join(parts)
