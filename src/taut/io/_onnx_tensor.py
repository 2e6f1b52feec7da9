"""One initialiser of an ONNX model (a TensorProto): what it says of itself, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np

from taut.errors import FormatError
from taut.io._onnx_wire import (
    FIXED,
    LENGTH,
    VARINT,
    Data,
    Field,
    fields,
    pack_varints,
    runs,
    signed,
    text,
    unpack_varints,
    varint,
    without_keys,
)
from taut.io.dtypes import DTYPE_BITS, MAX_DIMENSIONS, storage, tensor_nbytes
from taut.io.tensor_info import TensorInfo

DTYPES: Final = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16",
    11: "F64", 12: "U32", 13: "U64", 14: "C64", 15: "F64", 16: "BF16", 17: "F8_E4M3",
    18: "F8_E4M3FNUZ", 19: "F8_E5M2", 20: "F8_E5M2FNUZ", 23: "F4", 24: "F8_E8M0",
}  # fmt: skip
"""ONNX's numbers of dtypes as safetensors names them; complex128 is pairs of F64."""

COMPLEX128: Final = 15
FLOAT4: Final = 23
PACKED: Final = {21: 4, 22: 4, 25: 2, 26: 2}  # uint4, int4, uint2, int2: bits of a value
_MOST_VARINTS: Final = 1 << 30  # bytes; beyond, the numbers stay where they are
# Fields of TensorProto.
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION, _SEGMENT = 1, 2, 8, 9, 13, 14, 3
_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S = 4, 5, 7, 10, 11
_ONCE: Final = (_TYPE, _NAME, _RAW, _LOCATION)
_PAYLOADS: Final = (_FLOATS, _INT32S, 6, _INT64S, _RAW, _DOUBLES, _UINT64S)
_NUMBERS: Final = (_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S)
_AS_BYTES: Final = {_RAW: None, _FLOATS: ("F32", "C64"), _DOUBLES: ("F64",)}
_AS_VARINTS: Final = {  # narrow floats lie there as their bits
    _INT32S: (
        *("I32", "I16", "I8", "U16", "U8", "BOOL", "F16", "BF16", "F4"),
        *("F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"),
    ),
    _INT64S: ("I64",),
    _UINT64S: ("U64", "U32"),
}


@dataclass
class Initializer:
    """An initialiser: `payload` is the field with its values, None if they lie in another file."""

    name: str = ""
    type: int = 0
    dims: list[int] = field(default_factory=list)
    payload: Field | None = None
    external: dict[str, str] = field(default_factory=dict)
    outside: bool = False
    pieces: int = 0  # fields that hold values
    segmented: bool = False

    def info(self, name: str, where: str) -> TensorInfo | None:
        """The tensor that it is to a Taut file; None for a dtype that safetensors has not.

        Packed integers of fewer than 8 bits are their bytes, U8; complex128 are pairs of F64.

        Raises:
            FormatError: its dimensions are no tensor's.
        """
        for number in self.dims:
            if number < 0:
                raise FormatError(f"{where}: dimension {number} is below zero")
        dtype, shape = self._as_held()
        if dtype is None or prod(shape) * DTYPE_BITS[dtype] % 8:
            return None
        try:
            return TensorInfo(name, dtype, shape, tensor_nbytes(dtype, shape))
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None

    def _as_held(self) -> tuple[str | None, tuple[int, ...]]:
        """The dtype and shape of its numbers, or of the bytes that they are packed in."""
        shape = tuple(self.dims)
        if self.type in PACKED:
            tensor_nbytes("U8", shape)  # raises: too large
            return "U8", (-(-prod(shape) * PACKED[self.type] // 8),)
        if self.type == COMPLEX128:
            shape = (*shape, 2)
        if self.type == FLOAT4 and prod(shape) % 2:
            return "U8", (prod(shape) // 2 + 1,)
        return DTYPES.get(self.type), shape


def read_initializer(data: Data, begin: int, end: int, where: str) -> Initializer:
    """Read what the TensorProto at begin..end says, but for its values.

    Raises:
        FormatError: it is damaged, or says something twice.
    """
    found, seen = Initializer(), set()
    for one in runs(data, begin, end, where, _NUMBERS):
        if one.number in seen:
            raise FormatError(f"{where}: near byte {one.begin}: field {one.number} comes twice")
        if one.number in _ONCE:
            seen.add(one.number)
        _take(found, one, data, where)
    return found


def of_list(values: Field, data: Data, *, floats: bool) -> Initializer:
    """The floats (or whole numbers) that an attribute lists, as a vector of F32 (or I64)."""
    if values.key:
        count = values.value
    elif floats:
        count = (values.end - values.begin) // 4
    else:
        packed = np.frombuffer(data, np.uint8, values.end - values.begin, values.begin)
        count = int(np.count_nonzero(packed < 128))
    payload = values._replace(number=_FLOATS if floats else _INT64S)
    return Initializer(type=1 if floats else 7, dims=[count], payload=payload, pieces=1)


def _take(found: Initializer, one: Field, data: Data, where: str) -> None:
    """Note what one field says."""
    if one.number == _DIMS:
        _add_dims(found.dims, data, one, where)
    elif one.number == _TYPE and one.wire == VARINT:
        found.type = one.value
    elif one.number == _NAME:
        found.name = text(data, one, where)
    elif one.number == _EXTERNAL and one.wire == LENGTH:
        _add_entry(found.external, data, one, where)
    elif one.number == _LOCATION and one.wire == VARINT:
        found.outside = one.value == 1
    elif one.number in _PAYLOADS:
        found.pieces += 1
        found.payload = one
    found.segmented |= one.number == _SEGMENT


def encoding_of(found: Initializer, info: TensorInfo, data: Data, where: str) -> str:
    """How the values lie in the payload: "raw", "varint", or "" if not in a form read here.

    Raises:
        FormatError: they are more or fewer than the dimensions want.
    """
    one = found.payload
    if one is None or found.pieces != 1 or found.segmented:
        return ""
    if one.wire != LENGTH and not one.key:
        return ""
    if one.number in _AS_BYTES:
        return "raw" if _is_raw(one, info, where) else ""
    if info.dtype not in _AS_VARINTS.get(one.number, ()):
        return ""
    return "varint" if _is_varint(one, info, data, where) else ""


def _is_raw(one: Field, info: TensorInfo, where: str) -> bool:
    """Whether a payload of bytes is that of the dtype."""
    kinds, nbytes = _AS_BYTES[one.number], one.end - one.begin
    if one.key:
        nbytes = one.value * FIXED.get(one.wire, 0)
    if kinds is not None and info.dtype not in kinds:
        return False
    if nbytes != info.nbytes:
        raise FormatError(
            f"{where}: holds {nbytes} bytes, but {info.dtype} of shape {list(info.shape)} "
            f"takes {info.nbytes}"
        )
    return True


def _is_varint(one: Field, info: TensorInfo, data: Data, where: str) -> bool:
    """Whether a payload of packed numbers comes back as the very bytes when it is packed again."""
    nbytes = one.end - one.begin
    if nbytes > _MOST_VARINTS or one.wire not in (LENGTH, VARINT):
        return False
    packed = np.frombuffer(data, np.uint8, nbytes, one.begin)
    if one.key:
        packed = without_keys(packed, one.key)
    count = int(np.count_nonzero(packed < 128))
    if count != prod(storage(info.dtype, info.shape)[1]):
        raise FormatError(f"{where}: holds {count} numbers, its shape {list(info.shape)} others")
    values = decode_varints(packed, info)
    return values is not None and np.array_equal(pack_varints(values), packed)


def decode_varints(packed: np.ndarray, info: TensorInfo) -> np.ndarray | None:
    """The tensor whose values are packed so; None if they are not its dtype's."""
    numbers = unpack_varints(packed)
    if numbers is None:
        return None
    dtype, shape = storage(info.dtype, info.shape)
    if dtype.kind == "b" and numbers.size and int(numbers.max()) > 1:
        return None
    wide = numbers.view(np.int64) if dtype.kind == "i" else numbers
    narrow = wide.astype(dtype if dtype.kind in "iub" else f"u{dtype.itemsize}")
    return narrow.view(dtype).reshape(shape)


def _add_dims(dims: list[int], data: Data, one: Field, where: str) -> None:
    dims += _dims(data, one, where)
    if len(dims) > MAX_DIMENSIONS:
        raise FormatError(f"{where}: more than {MAX_DIMENSIONS} dimensions")


def _dims(data: Data, one: Field, where: str) -> list[int]:
    if one.wire == VARINT:
        return [signed(one.value)]
    if one.wire != LENGTH or one.end - one.begin > 10 * MAX_DIMENSIONS:
        raise FormatError(f"{where}: near byte {one.begin}: these are no dimensions")
    found, at = [], one.begin
    while at < one.end:
        value, at = varint(data, at, one.end, where)
        found.append(signed(value))
    return found


def _add_entry(entries: dict[str, str], data: Data, one: Field, where: str) -> None:
    pair = {f.number: text(data, f, where) for f in fields(data, one.begin, one.end, where)}
    key, value = pair.get(1, ""), pair.get(2, "")
    if key in entries or len(entries) > 16:
        raise FormatError(f'{where}: external_data has "{key[:40]}" twice, or too many entries')
    entries[key] = value
