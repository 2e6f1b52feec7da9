"""Coded arrays of a file, as far as their parts were seen to match their checksums."""

from __future__ import annotations

from dataclasses import dataclass

from taut.coding import Chunked
from taut.container.place import Place


@dataclass(frozen=True)
class Checked:
    """A coded array whose parts match their checksums, and which decodes to `nbytes` bytes."""

    place: Place
    header: bytes
    chunks: list[memoryview]
    nbytes: int


@dataclass(frozen=True)
class ChunkedArray:
    """A coded array whose header matches its checksum, and what that says of its chunks."""

    place: Place
    header: bytes
    found: Chunked


@dataclass(frozen=True)
class ChunkRange:
    """Chunks of a coded array that match their checksums, and which of its bytes they give."""

    place: Place
    header: bytes
    first: int
    chunks: list[memoryview]
    begin: int
    end: int
