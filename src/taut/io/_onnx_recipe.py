"""What an ONNX model is beside its initialisers: its files with holes where their bytes go back.

Packed it is one tensor of a Taut file (docs/format.md, section 4, "ONNX").
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from taut.errors import FormatError
from taut.io._onnx_wire import FIXED

MAX_LITERAL: Final = 1 << 30  # bytes of a graph without its initialisers
_MOST_FILES: Final = 1 << 16
_ROOM, _RATIO = 262_144, 100  # what a packed graph may inflate to


@dataclass(frozen=True)
class Hole:
    """Where a tensor's bytes go in a file: begin..end, as they are ("raw") or as varints.

    Where each value has a byte before it, as in lists that are not packed, `key` is that byte.
    """

    begin: int
    end: int
    tensor: str
    encoding: str
    key: int = 0


@dataclass(frozen=True)
class RecipeFile:
    """A file of `nbytes`: `literal` are its bytes without the holes, which are in order."""

    name: str
    nbytes: int
    holes: tuple[Hole, ...]
    literal: bytes


def literal_of(read: Callable[[int, int], bytes], nbytes: int, holes: tuple[Hole, ...]) -> bytes:
    """The bytes of a file outside of its holes; `read(begin, end)` gives some of its bytes."""
    parts, at = [], 0
    for hole in holes:
        parts.append(read(at, hole.begin))
        at = hole.end
    return b"".join([*parts, read(at, nbytes)])


def pack_recipe(files: tuple[RecipeFile, ...]) -> bytes:
    """The files as one deflated blob; the same files give the same bytes."""
    tree = [
        {
            "name": file.name,
            "bytes": file.nbytes,
            "holes": [_listed_hole(hole) for hole in file.holes],
        }
        for file in files
    ]
    head = json.dumps({"files": tree}, ensure_ascii=False, separators=(",", ":")).encode()
    whole = b"".join([head, b"\n", *(file.literal for file in files)])
    for level in (9, 1, 0):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9)
        packed = packer.compress(whole) + packer.flush()
        if len(whole) <= _ROOM + _RATIO * len(packed):
            break
    return packed


def _listed_hole(hole: Hole) -> list[int | str]:
    key = [hole.key] if hole.key else []
    return [hole.begin, hole.end, hole.tensor, hole.encoding, *key]


def raw_size(hole: Hole, nbytes: int) -> int:
    """The bytes that a raw hole has for so many bytes of values; -1 if they do not come out even.

    >>> raw_size(Hole(0, 5, "w", "raw", key=61), 4)
    5
    """
    if not hole.key:
        return nbytes
    width = FIXED[hole.key & 7]
    return -1 if nbytes % width else nbytes + nbytes // width


def unpack_recipe(packed: bytes, where: str) -> tuple[RecipeFile, ...]:
    """Read what `pack_recipe` made, trusting nothing.

    Raises:
        FormatError: it breaks a rule of docs/format.md; says which.
    """
    head, newline, rest = _inflated(packed, where).partition(b"\n")
    listed = _listed(head, where)
    if not newline:
        raise FormatError(f"{where}: has no list of files")
    found, at = [], 0
    for number, item in enumerate(listed):
        name, nbytes, holes = _parse(item, f"{where}: file {number}")
        length = nbytes - sum(hole.end - hole.begin for hole in holes)
        found.append(RecipeFile(name, nbytes, holes, rest[at : at + length]))
        at += length
    if at != len(rest) or len({plain_path(one.name).casefold() for one in found}) < len(found):
        raise FormatError(f"{where}: its files do not add up")
    return tuple(found)


def _listed(head: bytes, where: str) -> list[object]:
    """The files in the first line."""
    try:
        tree = json.loads(head)
    except (ValueError, RecursionError):
        raise FormatError(f"{where}: does not begin with JSON") from None
    listed = tree.get("files") if isinstance(tree, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_FILES:
        raise FormatError(f"{where}: has no list of files")
    return listed


def is_inside(name: str) -> bool:
    """Whether a path stays in the folder that it starts from, on any system."""
    parts = PurePosixPath(name).parts
    plain = name and not any(c in name for c in "\\:\0") and not name.startswith("/")
    return bool(plain and parts) and ".." not in parts


def plain_path(name: str) -> str:
    """A path without needless parts: one name for one file.

    >>> plain_path("./a//b")
    'a/b'
    """
    return str(PurePosixPath(name))


def _is_key(key: list[object], encoding: str) -> bool:
    """Whether it is none, or a key of one byte of numbers that lie so."""
    wires = (0,) if encoding == "varint" else FIXED
    match key:
        case []:
            return True
        case [int(byte)]:
            return type(byte) is int and 8 <= byte < 128 and byte & 7 in wires
    return False


def _inflated(packed: bytes, where: str) -> bytes:
    limit = min(MAX_LITERAL + _ROOM, _ROOM + _RATIO * len(packed))
    reader = zlib.decompressobj(-15)
    try:
        whole = reader.decompress(packed, limit + 1)
    except zlib.error as error:
        raise FormatError(f"{where}: not a deflate stream ({error})") from None
    if len(whole) > limit or not reader.eof or reader.unused_data:
        raise FormatError(f"{where}: not one deflate stream of at most {limit} bytes")
    return whole


def _parse(item: object, where: str) -> tuple[str, int, tuple[Hole, ...]]:
    if not isinstance(item, dict) or item.keys() != {"name", "bytes", "holes"}:
        raise FormatError(f"{where}: wants name, bytes and holes")
    name, nbytes, listed = item["name"], item["bytes"], item["holes"]
    if not isinstance(name, str) or not is_inside(name):
        raise FormatError(f"{where}: {str(name)[:80]!r} is no path within the model's folder")
    if type(nbytes) is not int or not 0 <= nbytes < 1 << 48 or not isinstance(listed, list):
        raise FormatError(f"{where}: bytes or holes are out of range")
    return name, nbytes, _holes(listed, nbytes, where)


def _holes(listed: list[Any], nbytes: int, where: str) -> tuple[Hole, ...]:
    """The holes of a file of so many bytes, one behind the other; FormatError if they are not."""
    holes, at = [], 0
    for one in listed:
        match one:
            case [int(begin), int(end), str(tensor), "raw" | "varint" as encoding, *key] if (
                at <= begin <= end <= nbytes and _is_key(key, encoding)
            ):
                holes.append(Hole(begin, end, tensor, encoding, *key))
                at = end
            case _:
                raise FormatError(f"{where}: a hole is not in its place: {str(one)[:80]}")
    return tuple(holes)
