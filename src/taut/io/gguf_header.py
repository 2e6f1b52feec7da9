"""The header of a GGUF file: metadata, and where each tensor lies. Nothing in it is trusted.

Versions 1 (lengths of 32 bits), 2 and 3 differ in nothing else that matters here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Final, TypeAlias

from taut.errors import FormatError
from taut.io.ggml_types import GGML_TYPES, GgmlType

Fetch: TypeAlias = Callable[[int, int], bytes]
"""Gives the bytes of a file from one number to another, all of them."""

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (1, 2, 3)
_MOST: Final = 1 << 30  # bytes of a header
_DIMENSIONS: Final = 4
_LONGEST: Final = 1 << 16  # bytes of a key, or of a tensor's name
_DEEPEST: Final = 4  # arrays in arrays
_USUAL_ALIGNMENT: Final = 32
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
}  # fmt: skip
_SCALAR_SIZES: Final = {kind: struct.calcsize(f"<{code}") for kind, code in _SCALARS.items()}
# What a version is when it is read the wrong way round.
_SWAPPED: Final = tuple(version << 24 for version in _VERSIONS)


@dataclass(frozen=True)
class GgufValue:
    """One entry of the metadata: its type, where its value lies, and a plain value itself."""

    kind: int
    begin: int
    end: int
    value: int | float | str | None = None


@dataclass(frozen=True)
class GgufTensor:
    """One tensor: `shape` has the innermost dimension last, `start` is its first byte."""

    name: str
    type: GgmlType
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def rows(self) -> int:
        """Rows of whole blocks."""
        return prod(self.shape[:-1])


@dataclass(frozen=True)
class GgufHeader:
    """What a file begins with; `tensors` in the order of the header, `end` is where it ends.

    `keys_begin` and `keys_end` are where the metadata lies, `data` is where tensors begin.
    """

    version: int
    keys: dict[str, GgufValue]
    tensors: tuple[GgufTensor, ...]
    alignment: int
    keys_begin: int
    keys_end: int
    end: int
    data: int

    def text(self, key: str) -> str | None:
        """A text of the metadata; None where there is none of this name."""
        found = self.keys.get(key)
        return found.value if found is not None and isinstance(found.value, str) else None

    def number(self, key: str) -> int | None:
        """A whole number of the metadata; None where there is none of this name."""
        found = self.keys.get(key)
        return found.value if found is not None and type(found.value) is int else None


def read_gguf_header(read: Fetch, nbytes: int, where: str) -> GgufHeader:
    """The header of a file of so many bytes.

    Raises:
        FormatError: it is damaged, hostile, cut short, big-endian, of an unknown version or type.
    """
    return _HeaderReader(read, nbytes, where).header()


class _HeaderReader:
    """A cursor over the header that reads ahead, and never past the end of the file."""

    def __init__(self, read: Fetch, nbytes: int, where: str) -> None:
        self._read, self._nbytes, self._where = read, nbytes, where
        self.at = 0
        self._ahead, self._ahead_at = b"", 0
        self._length = "Q"

    def header(self) -> GgufHeader:
        """All of it."""
        version = self._version()
        if version == 1:
            self._length = "I"
        tensors, keys = self.size("tensors"), self.size("entries of metadata")
        begin = self.at
        # The shortest that an entry, or a tensor, can be bounds how many a file has room for.
        self._check_count(keys, 9, "entries of metadata")
        self._check_count(tensors, 16, "tensors")
        found = self._keys(keys)
        keys_end = self.at
        alignment = self._alignment(found)
        listed = [self._tensor(number) for number in range(tensors)]
        end = self.at
        data = -(-end // alignment) * alignment
        placed = tuple(self._placed(one, data, alignment) for one in listed)
        self._check_places(placed)
        return GgufHeader(version, found, placed, alignment, begin, keys_end, end, data)

    def fail(self, what: str) -> FormatError:
        """The error that says what is wrong."""
        return FormatError(f"{self._where}: {what}")

    def _version(self) -> int:
        if self.take(4, "the magic") != MAGIC:
            raise self.fail("is no GGUF file: it does not begin with GGUF")
        version = int.from_bytes(self.take(4, "the version"), "little")
        if version in _SWAPPED:
            raise self.fail(
                "is a big-endian GGUF file; convert it to little-endian first "
                "(gguf-convert-endian of the gguf package)"
            )
        if version not in _VERSIONS:
            raise self.fail(
                f"is GGUF of version {version}; those that are read: "
                f"{', '.join(map(str, _VERSIONS))}"
            )
        return version

    def take(self, count: int, what: str) -> bytes:
        """The next bytes."""
        end = self.at + count
        if end > self._nbytes:
            raise self.fail(
                f"ends at byte {self._nbytes}, within {what}: it is cut short; fetch it again"
            )
        if end > _MOST:
            raise self.fail(f"has a header of more than {_MOST:,} bytes")
        if end > self._ahead_at + len(self._ahead) or self.at < self._ahead_at:
            self._ahead_at = self.at
            self._ahead = self._read(self.at, min(self._nbytes, max(end, self.at + (1 << 20))))
        begin = self.at - self._ahead_at
        self.at = end
        if begin + count > len(self._ahead):
            raise self.fail(f"ends within {what}")
        return self._ahead[begin : begin + count]

    def scalar(self, code: str, what: str) -> int | float:
        """The next number."""
        found: int | float = struct.unpack(
            f"<{code}", self.take(struct.calcsize(f"<{code}"), what)
        )[0]
        return found

    def size(self, what: str) -> int:
        """A number of things."""
        return int(self.scalar(self._length, f"the number of {what}"))

    def string(self, what: str, most: int = _MOST) -> bytes:
        """A length and so many bytes."""
        length = int(self.scalar(self._length, what))
        if length > most:
            raise self.fail(f"{what} has {length:,} bytes, which cannot be")
        return self.take(length, what)

    def name(self, what: str) -> str:
        """A short string in UTF-8."""
        raw = self.string(what, _LONGEST)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.fail(f"{what} is no UTF-8: {raw[:40]!r}") from None

    def _check_count(self, count: int, least: int, what: str) -> None:
        if count > (self._nbytes - self.at) // least:
            raise self.fail(f"says that it has {count:,} {what}, for which it has no room")

    def _keys(self, count: int) -> dict[str, GgufValue]:
        found: dict[str, GgufValue] = {}
        for number in range(count):
            key = self.name(f"key {number} of the metadata")
            if key in found:
                raise self.fail(f'has the key "{key}" twice')
            what = f'the value of "{key[:80]}"'
            kind = int(self.scalar("I", what))
            begin = self.at
            value = self._value(kind, what, 0)
            found[key] = GgufValue(kind, begin, self.at, value)
        return found

    def _value(self, kind: int, what: str, depth: int) -> int | float | str | None:
        """Read a value; an array is passed over."""
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind], what)
        if kind == _STRING:
            return self.string(what).decode(errors="replace")
        if kind != _ARRAY or depth == _DEEPEST:
            raise self.fail(f"{what} is of type {kind}, which is unknown, or lies too deep")
        inner = int(self.scalar("I", what))
        count = self.size(f"elements of {what}")
        if inner in _SCALARS:
            self._check_count(count, _SCALAR_SIZES[inner], f"elements in {what}")
            self._skip(count * _SCALAR_SIZES[inner], what)
            return None
        self._check_count(count, 4, f"elements in {what}")
        for _ in range(count):
            self._value(inner, what, depth + 1)
        return None

    def _skip(self, count: int, what: str) -> None:
        while count:
            step = min(count, 1 << 20)
            self.take(step, what)
            count -= step

    def _alignment(self, keys: dict[str, GgufValue]) -> int:
        found = keys.get("general.alignment")
        if found is None:
            return _USUAL_ALIGNMENT
        value = found.value
        if type(value) is not int or not 0 < value <= 1 << 24 or value & (value - 1):
            raise self.fail(f"general.alignment is {value!r}; it must be a power of two")
        return value

    def _tensor(self, number: int) -> GgufTensor:
        """A tensor, whose `start` is its offset still."""
        name = self.name(f"the name of tensor {number}")
        what = f'tensor "{name[:80]}"'
        dimensions = int(self.scalar("I", what))
        if not dimensions <= _DIMENSIONS:
            raise self.fail(f"{what} has {dimensions} dimensions, at most {_DIMENSIONS} can be")
        shape = tuple(int(self.scalar(self._length, what)) for _ in range(dimensions))[::-1]
        kind = int(self.scalar("I", what))
        offset = int(self.scalar("Q", what))
        if kind not in GGML_TYPES:
            known = ", ".join(one.name for one in GGML_TYPES.values())
            raise self.fail(
                f"{what} is of ggml type {kind}, which is not known here ({known}); quantise the "
                "model anew to one of these (llama-quantize of llama.cpp)"
            )
        found = GGML_TYPES[kind]
        if prod(shape) > 1 << 48:
            raise self.fail(f"{what} of shape {list(shape)} has more values than can be")
        if found.block > 1 and (not shape or shape[-1] % found.block):
            raise self.fail(
                f"{what} has rows of {shape[-1] if shape else 1} values, no whole blocks of "
                f"{found.block} as {found.name} takes"
            )
        nbytes = prod(shape) // found.block * found.nbytes
        return GgufTensor(name, found, shape, offset, nbytes)

    def _placed(self, one: GgufTensor, data: int, alignment: int) -> GgufTensor:
        what = f'tensor "{one.name[:80]}"'
        if one.start % alignment:
            raise self.fail(
                f"{what} begins at {one.start}, no multiple of the alignment {alignment}"
            )
        start = data + one.start
        if start + one.nbytes > self._nbytes:
            raise self.fail(
                f"ends at byte {self._nbytes}, but {what} at byte {start + one.nbytes}: it is cut "
                "short; fetch it again"
            )
        return GgufTensor(one.name, one.type, one.shape, start, one.nbytes)

    def _check_places(self, tensors: tuple[GgufTensor, ...]) -> None:
        seen: set[str] = set()
        for one in tensors:
            if one.name in seen:
                raise self.fail(f'has the tensor "{one.name[:80]}" twice')
            seen.add(one.name)
        before: GgufTensor | None = None
        for one in sorted(tensors, key=lambda t: (t.start, t.nbytes)):
            if before is not None and one.start < before.start + before.nbytes:
                raise self.fail(f'tensor "{one.name[:80]}" lies over "{before.name[:80]}"')
            before = one if one.nbytes else before
