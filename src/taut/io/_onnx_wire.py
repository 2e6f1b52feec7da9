"""Protobuf's wire format, as much of it as ONNX needs: fields by number, and where they lie.

Nothing is copied and nothing is built: a model of gigabytes is walked in its map, and what is not
asked for is stepped over. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import FormatError

Data: TypeAlias = "bytes | mmap.mmap"

VARINT: Final = 0
LENGTH: Final = 2  # bytes, text, a message, or packed numbers, behind their length
FIXED: Final = {1: 8, 5: 4}
"""Wire types of numbers that take as many bytes each."""
_LONGEST: Final = 10  # bytes of a varint
_FEW, _PIECE = 32, 1 << 20  # values that are looked at one by one, bytes that are together


class Field(NamedTuple):
    """One field: its data lie at begin..end of the file; `value` is that of a varint, else 0.

    Of a run (`runs`), `key` is the byte before each of its values, and `value` counts them.
    """

    number: int
    wire: int
    begin: int
    end: int
    value: int
    key: int = 0


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
        elif wire in FIXED:
            at += FIXED[wire]
        else:
            raise FormatError(f"{where}: near byte {at}: wire type {wire} is not protobuf's")
        if at > end:
            raise FormatError(
                f"{where}: near byte {first}: a field of {at - first} bytes ends behind its message"
            )
        yield Field(number, wire, first, at, value)


def runs(data: Data, begin: int, end: int, where: str, of: Collection[int]) -> Iterator[Field]:
    """As `fields`; but numbers of a field in `of` that are not packed, and follow, are one field.

    Its data lie from the first value's key to the end of the last.
    """
    at = begin
    while at < end:
        one = next(fields(data, at, end, where))
        key, at = one.number << 3 | one.wire, one.end
        if one.number in of and one.wire != LENGTH and data[one.begin - 1] == key:
            count, at = _run(data, one.begin - 1, end, key, where)
            one = Field(one.number, one.wire, one.begin - 1, at, count, key)
        yield one


def _run(data: Data, begin: int, end: int, key: int, where: str) -> tuple[int, int]:
    """How many values lie one after the other behind their key, and where the last of them ends."""
    width, total, at = FIXED.get(key & 7), 0, begin
    while at < end and data[at] == key and total < _FEW:  # most runs are short
        behind = at + 1 + width if width else varint(data, at + 1, end, where)[1]
        if behind > end:
            return total, at
        total, at = total + 1, behind
    while at < end and data[at] == key:
        count, taken = _keyed(np.frombuffer(data, np.uint8, min(end - at, _PIECE), at), key)
        if not count:
            break
        total, at = total + count, at + taken
    return total, at


def _keyed(some: NDArray[np.uint8], key: int) -> tuple[int, int]:
    """The values at the start of these bytes that have the key before them, and their bytes."""
    width = FIXED.get(key & 7)
    if width is not None:
        count = _leading(some[: len(some) // (width + 1) * (width + 1) : width + 1] == key)
        return count, count * (width + 1)
    ends = _turns(some)
    before = np.concatenate([[-1], ends[:-1, 1]])
    good = (ends[:, 0] == before + 1) & (some[ends[:, 0]] == key)
    count = _leading(good & (ends[:, 1] - ends[:, 0] <= _LONGEST))
    return count, int(ends[count - 1, 1]) + 1 if count else 0


def _turns(some: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Where keys of one byte lie, and where the varints behind them end: (values, 2)."""
    ends = np.flatnonzero(some < 128)
    return ends[: len(ends) // 2 * 2].reshape(-1, 2)


def without_keys(some: NDArray[np.uint8], key: int) -> NDArray[np.uint8]:
    """The values of a run that `runs` found, without the key before each.

    >>> without_keys(np.array([64, 1, 64, 172, 2], np.uint8), 64).tolist()
    [1, 172, 2]
    """
    width = FIXED.get(key & 7)
    if width is not None:
        return some.reshape(-1, width + 1)[:, 1:].reshape(-1)
    kept = np.ones(len(some), bool)
    kept[_turns(some)[:, 0]] = False
    return some[kept]


def with_keys(some: NDArray[np.uint8], key: int) -> NDArray[np.uint8]:
    """What `without_keys` was given."""
    width = FIXED.get(key & 7)
    if width is not None:
        rows = some.reshape(-1, width)
        return np.concatenate([np.full((len(rows), 1), key, np.uint8), rows], 1).reshape(-1)
    ends = np.flatnonzero(some < 128)
    found: NDArray[np.uint8] = np.insert(some, np.concatenate([[0], ends[:-1] + 1]), key)
    return found


def _leading(true: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return len(true) if true.all() else int(np.argmin(true))


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
    if packed.size and packed[-1] >= 128:
        return None
    values = np.empty(int(np.count_nonzero(packed < 128)), np.uint64)
    at = filled = 0
    while at < packed.size:
        piece = packed[at : at + _PIECE]
        ends = np.flatnonzero(piece < 128)
        found = _unpacked(piece, ends)
        if found is None:
            return None
        values[filled : filled + found.size] = found
        filled, at = filled + found.size, at + int(ends[-1]) + 1
    return values


def _unpacked(packed: NDArray[np.uint8], ends: NDArray[np.intp]) -> NDArray[np.uint64] | None:
    """The numbers that end at these places; None if one is too long."""
    begins = np.concatenate([np.zeros(1, np.intp), ends[:-1] + 1])
    lengths = ends - begins + 1
    if not ends.size or lengths.max() > _LONGEST:
        return None
    values = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max())):
        has = lengths > place
        part = (packed[begins[has] + place] & 127).astype(np.uint64)
        values[has] |= part << np.uint64(7 * place)
    return values


def pack_varints(values: np.ndarray) -> NDArray[np.uint8]:
    """Whole numbers as protobuf packs them: each as short as can be, negative ones as int64.

    Of narrow floats their bits are packed.

    >>> pack_varints(np.array([1, 300])).tolist()
    [1, 172, 2]
    """
    wide = values.reshape(-1)
    if wide.dtype.kind not in "iu":
        wide = wide.view(f"u{wide.itemsize}")
    pieces = [_packed(wide[at : at + _PIECE]) for at in range(0, wide.size, _PIECE)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)


def _packed(wide: np.ndarray) -> NDArray[np.uint8]:
    left = wide.astype(np.int64).view(np.uint64) if wide.dtype.kind == "i" else wide.astype("u8")
    lengths = np.ones(left.size, np.int64)
    for place in range(1, _LONGEST):
        lengths += left >> np.uint64(7 * place) != 0
    ends = np.cumsum(lengths)
    packed = np.zeros(int(ends[-1]), np.uint8)
    begins = ends - lengths
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        part = ((left[has] >> np.uint64(7 * place)) & np.uint64(127)).astype(np.uint8)
        packed[begins[has] + place] = part | ((lengths[has] > place + 1).astype(np.uint8) << 7)
    return packed
