"""The number formats of safetensors 0.8 and their numpy counterparts.

Surprises first: `F8_E4M3` is what ml_dtypes and PyTorch call float8_e4m3fn. `F4` and `F6_*` pack
several values in a byte; numpy cannot address them, so they travel as opaque bytes (`storage`).
"""

from __future__ import annotations

from math import prod
from typing import Final

import ml_dtypes
import numpy as np

from taut.errors import ArgumentError, FormatError

LARGEST_HALF: Final = 65504.0
"""The largest number of float16."""

SAFETENSORS_DTYPES: Final[dict[str, np.dtype]] = {
    "BOOL": np.dtype(np.bool_),
    "I8": np.dtype(np.int8),
    "I16": np.dtype(np.int16),
    "I32": np.dtype(np.int32),
    "I64": np.dtype(np.int64),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
"""Every dtype with a numpy counterpart; the sub-byte ones are only in `DTYPE_BITS`."""

DTYPE_BITS: Final[dict[str, int]] = {
    **{name: 8 * dtype.itemsize for name, dtype in SAFETENSORS_DTYPES.items()},
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""Bits of one value, for every dtype that safetensors knows."""

MAX_DIMENSIONS: Final = 32  # numpy 1's own limit; 64 since 2.0
MAX_NUMBER: Final = 2**63 - 1  # of a dimension, an offset or a size: what int64 and ssize_t hold

# numpy calls one layout by several names (longlong and int64), and `dtype ==` is slow to search:
# built-in types are found by kind and size, ml_dtypes (whose kinds are not unique) by themselves.
_BUILTIN = {(d.kind, d.itemsize): n for n, d in SAFETENSORS_DTYPES.items() if d.isbuiltin == 1}
_EXTENDED = {d.type: n for n, d in SAFETENSORS_DTYPES.items() if d.isbuiltin != 1}


def dtype_name(dtype: np.dtype) -> str:
    """The safetensors name of a numpy or ml_dtypes dtype, of any byte order.

    Raises:
        ArgumentError: safetensors has no such dtype (object, str, complex128, longdouble, ...).

    >>> dtype_name(np.dtype(">f4"))
    'F32'
    """
    name = _EXTENDED.get(dtype.type)
    if name is None and dtype.isbuiltin != 2 and dtype.fields is None and dtype.subdtype is None:
        name = _BUILTIN.get((dtype.kind, dtype.itemsize))
    if name is None:
        known = ", ".join(sorted(SAFETENSORS_DTYPES))
        raise ArgumentError(f"dtype {dtype} cannot be stored; convert it to one of {known}")
    return name


def tensor_nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes that a dense tensor takes, of a safetensors dtype and a shape.

    Raises:
        FormatError: unknown dtype, too many dimensions, a number out of range, or sub-byte
            values that do not fill their last byte.

    >>> tensor_nbytes("F4", (3, 2))
    3
    """
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        raise FormatError(f'unknown dtype "{dtype[:40]}"; known: {", ".join(sorted(DTYPE_BITS))}')
    if len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"{len(shape)} dimensions; at most {MAX_DIMENSIONS} are allowed")
    for number in shape:
        if not 0 <= number <= MAX_NUMBER:
            raise FormatError(f"dimension {number} is outside 0..2^63-1")
    # The product without its zeros, as numpy has it: (0, 2^62, 2^62) holds nothing, yet overflows.
    if prod(number or 1 for number in shape) * max(bits, 8) > 8 * MAX_NUMBER:
        raise FormatError(f"shape {list(shape)} of {dtype} overflows 2^63-1 bytes")
    total = prod(shape) * bits
    if total % 8:
        raise FormatError(f"shape {list(shape)} of {dtype} ends inside a byte ({total} bits)")
    return total // 8


def storage(dtype: str, shape: tuple[int, ...]) -> tuple[np.dtype, tuple[int, ...]]:
    """The numpy dtype and shape in which a tensor is held in memory.

    They are the tensor's own, but for sub-byte dtypes: those are 1-D uint8, the packed bytes.

    Raises:
        FormatError: as `tensor_nbytes`.

    >>> storage("F6_E2M3", (4,))
    (dtype('uint8'), (3,))
    """
    nbytes = tensor_nbytes(dtype, shape)
    numpy_dtype = SAFETENSORS_DTYPES.get(dtype)
    return (np.dtype(np.uint8), (nbytes,)) if numpy_dtype is None else (numpy_dtype, shape)
