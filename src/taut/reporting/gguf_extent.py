"""Where the header of a GGUF file ends: what the page of `taut view` reads of it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

from taut.errors import FormatError

# Bytes of a value by its type; 8 is a text, 9 a list.
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT: Final = 8
_LIST: Final = 9
_MOST: Final = 1 << 28  # bytes of a header
_DEEPEST: Final = 8  # lists in lists


def gguf_extent(path: Path) -> int:
    """Bytes of the header: from the file's start to the end of its table of tensors.

    Raises:
        FormatError: the file is cut, or is of a version or a kind that is not known.
    """
    with path.open("rb") as file:
        return _Walk(path, file).end()


class _Walk:
    """Goes over a header once, and keeps nothing of it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = path.stat().st_size

    def end(self) -> int:
        self._skip(4)
        version = self._number("<I")
        if version not in (2, 3):
            raise self._wrong(f"GGUF version {version}; 2 and 3 are read")
        tensors, pairs = self._number("<Q"), self._number("<Q")
        for _ in range(pairs):
            self._skip(self._number("<Q"))
            self._value(self._number("<I"), 0)
        for _ in range(tensors):
            self._skip(self._number("<Q"))
            dimensions = self._number("<I")
            self._skip(8 * dimensions + 4 + 8)
        return self._file.tell()

    def _value(self, kind: int, depth: int) -> None:
        if kind in _SIZES:
            self._skip(_SIZES[kind])
        elif kind == _TEXT:
            self._skip(self._number("<Q"))
        elif kind == _LIST and depth < _DEEPEST:
            inner, count = self._number("<I"), self._number("<Q")
            if inner in _SIZES:
                self._skip(_SIZES[inner] * count)
                return
            for _ in range(count):
                self._value(inner, depth + 1)
        else:
            raise self._wrong(f"a value of type {kind} in its header")

    def _number(self, form: str) -> int:
        data = self._file.read(struct.calcsize(form))
        if len(data) < struct.calcsize(form):
            raise self._wrong("ends within its header")
        return int(struct.unpack(form, data)[0])

    def _skip(self, count: int) -> None:
        to = self._file.tell() + count
        if to > min(self._size, _MOST):
            raise self._wrong("ends within its header, or has one of more than 256 MB")
        self._file.seek(to)

    def _wrong(self, why: str) -> FormatError:
        return FormatError(f"{self._path}: {why}")
