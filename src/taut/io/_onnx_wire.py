"""Protobuf's wire format, as much of it as ONNX needs: fields by number, and where they lie.

Nothing is copied and nothing is built: a model of gigabytes is walked in its map, and what is not
asked for is stepped over. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import FormatError

Data: TypeAlias = "bytes | mmap.mmap"

VARINT: Final = 0
LENGTH: Final = 2  # bytes, text, a message, or packed numbers, behind their length
_FIXED: Final = {1: 8, 5: 4}
_LONGEST: Final = 10  # bytes of a varint


class Field(NamedTuple):
    """One field: its data lie at begin..end of the file; `value` is that of a varint, else 0."""

    number: int
    wire: int
    begin: int
    end: int
    value: int


def fields(data: Data, begin: int, end: int, where: str) -> Iterator[Field]:
    """The fields of the message that lies at begin..end.

    Raises:
        FormatError: it is no protobuf message; `where` says which.
    """
    at = begin
    while at < end:
        key, at = varint(data, at, end, where)
        number, wire = key >> 3, key & 7
        if not number:
            raise FormatError(f"{where}: near byte {at}: a field has the number 0")
        value, first = 0, at
        if wire == VARINT:
            value, at = varint(data, at, end, where)
        elif wire == LENGTH:
            length, first = varint(data, at, end, where)
            at = first + length
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise FormatError(f"{where}: near byte {at}: wire type {wire} is not protobuf's")
        if at > end:
            raise FormatError(
                f"{where}: near byte {first}: a field of {at - first} bytes ends behind its message"
            )
        yield Field(number, wire, first, at, value)


def varint(data: Data, at: int, end: int, where: str) -> tuple[int, int]:
    """The whole number at `at`, in 0..2^64-1, and where it ends."""
    value = 0
    for count in range(_LONGEST):
        if at + count >= end:
            break
        byte = data[at + count]
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            if value >> 64:
                break
            return value, at + count + 1
    raise FormatError(f"{where}: near byte {at}: a number is cut off, or longer than 64 bits")


def signed(value: int) -> int:
    """A varint as int64."""
    return value - (1 << 64) if value >> 63 else value


def text(data: Data, field: Field, where: str) -> str:
    """A field's text; at most 64 kB of it.

    Raises:
        FormatError: it is no text.
    """
    if field.wire != LENGTH or field.end - field.begin > 1 << 16:
        raise FormatError(f"{where}: near byte {field.begin}: field {field.number} is no text")
    try:
        return bytes(data[field.begin : field.end]).decode()
    except UnicodeDecodeError:
        raise FormatError(
            f"{where}: near byte {field.begin}: field {field.number} is not UTF-8"
        ) from None


def unpack_varints(packed: NDArray[np.uint8]) -> NDArray[np.uint64] | None:
    """The numbers of a packed field; None if it is none.

    >>> unpack_varints(np.array([1, 172, 2], np.uint8)).tolist()
    [1, 300]
    """
    if not packed.size:
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(packed < 128)
    if not ends.size or ends[-1] != packed.size - 1:
        return None
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    if lengths.max() > _LONGEST:
        return None
    values = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max())):
        has = lengths > place
        part = (packed[begins[has] + place] & 127).astype(np.uint64)
        values[has] |= part << np.uint64(7 * place)
    return values


def pack_varints(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Whole numbers as protobuf packs them: each as short as can be, negative ones as int64.

    >>> pack_varints(np.array([1, 300])).tolist()
    [1, 172, 2]
    """
    wide = values.reshape(-1)
    left = wide.astype(np.int64).view(np.uint64) if wide.dtype.kind == "i" else wide.astype("u8")
    lengths = np.ones(left.size, np.int64)
    for place in range(1, _LONGEST):
        lengths += left >> np.uint64(7 * place) != 0
    ends = np.cumsum(lengths)
    packed = np.zeros(int(ends[-1]) if ends.size else 0, np.uint8)
    begins = ends - lengths
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        part = ((left[has] >> np.uint64(7 * place)) & np.uint64(127)).astype(np.uint8)
        packed[begins[has] + place] = part | ((lengths[has] > place + 1).astype(np.uint8) << 7)
    return packed
