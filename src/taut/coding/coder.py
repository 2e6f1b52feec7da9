"""The front of the native coder: numpy arrays to coded arrays and back (docs/coding.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.errors import ArgumentError, FormatError

Effort = Literal["fast", "max"]
Buffer = bytes | bytearray | memoryview

_UNSIGNED, _FLOAT, _SIGNED = 0, 1, 2
OUTPUTS = {
    np.dtype(np.float32): 0,
    np.dtype(np.float16): 1,
    np.dtype(ml_dtypes.bfloat16): 2,
    np.dtype(np.float64): 3,
}
_LONGEST_ROW = 1 << 16
_SHORTEST_ROW = 64


@dataclass(frozen=True)
class CodedArray:
    """One coded array: `header` describes it, each of `chunks` decodes independently."""

    header: bytes
    chunks: tuple[bytes, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the header and all chunks."""
        return len(self.header) + sum(map(len, self.chunks))


@dataclass(frozen=True)
class Job:
    """One array to decode; `out` is C-contiguous, writable and `decoded_nbytes(header)` long.

    `base` is what a delta differs from, C-contiguous and as long as `out`.
    """

    header: bytes
    chunks: Sequence[Buffer]
    out: np.ndarray
    base: np.ndarray | None = None


def row_length(shape: tuple[int, ...]) -> int:
    """Values that share a context class: what one output channel reads, within 64 .. 65,536.

    >>> row_length((384, 1536)), row_length((16, 3, 3, 3)), row_length((30522,))
    (1536, 81, 30522)
    """
    count = int(np.prod(shape, dtype=np.int64))
    row = int(np.prod(shape[1:], dtype=np.int64)) if len(shape) > 1 else count
    if row < _SHORTEST_ROW:  # several output channels make a row
        row *= -(-_SHORTEST_ROW // max(1, row))
    if row > _LONGEST_ROW:
        row = _LONGEST_ROW
    return max(1, min(row, count))


def word_kind(dtype: np.dtype) -> tuple[int, int, int]:
    """How the words of a dtype are built: (width in bytes, mode, mantissa bits)."""
    if dtype.hasobject or dtype.kind in "OUSMm" or (dtype.kind == "V" and dtype.names):
        raise ArgumentError(f"cannot code an array of dtype {dtype}; give numbers")
    if dtype.kind == "c":
        half = np.dtype(f"f{dtype.itemsize // 2}")
        return half.itemsize, _FLOAT, int(np.finfo(half).nmant)
    if dtype.itemsize not in (1, 2, 4, 8):
        return 1, _UNSIGNED, 0
    if dtype.kind == "i":
        return dtype.itemsize, _SIGNED, 0
    if dtype.kind in "ub":
        return dtype.itemsize, _UNSIGNED, 0
    try:  # ml_dtypes knows numpy's floats too, and that float8_e5m2 is none of them
        return dtype.itemsize, _FLOAT, int(ml_dtypes.finfo(dtype).nmant)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        return dtype.itemsize, _UNSIGNED, 0


def words_alone(dtype: np.dtype) -> tuple[int, int, int]:
    """As `word_kind`, of a dtype each value of which is a word; ValueError of others."""
    found = word_kind(dtype)
    if found[0] != dtype.itemsize:
        raise ValueError(f"{dtype} does not come in words")
    return found


def encode_lossless(values: np.ndarray, *, effort: Effort = "fast", threads: int = 1) -> CodedArray:
    """Code an array of any shape and numeric dtype, bit-exactly.

    Never longer than the array's own bytes by more than its header (stored as it is at worst).
    The bytes depend on `values` and `effort` alone, not on `threads`.

    >>> coded = encode_lossless(np.zeros((1000, 1000), np.float32))
    >>> coded.nbytes < 32
    True
    """
    width, mode, mantissa = word_kind(values.dtype)
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    length = row_length(values.shape)
    header, chunks = _core.encode(flat, width, mode, mantissa, length, effort == "max", threads)
    return CodedArray(header, chunks)


def encode_indices(
    indices: NDArray[np.int32],
    *,
    step: float,
    offsets: tuple[float, float, float],
    dtype: np.dtype,
    effort: Effort = "max",
    threads: int = 1,
) -> CodedArray:
    """Code the indices of a uniform quantiser, shape (rows, row_length).

    They decode to `dtype` (float32, float16, bfloat16 or float64): the float32 number
    `q * step - sign(q) * offsets[min(|q|, 3) - 1] * step`, rounded to nearest even. `step` and
    `offsets` (in steps) are taken as float32. Indices of any size are coded, none is clipped.
    """
    output = OUTPUTS.get(np.dtype(dtype))
    if output is None:
        raise ArgumentError(f"cannot decode indices to {dtype}; give one of {_names()}")
    if not (0 <= np.float32(step) < np.inf and all(abs(offset) <= 1 for offset in offsets)):
        raise ArgumentError(
            f"step {step} must be finite and not negative, offsets {offsets} within -1 .. 1"
        )
    flat = np.ascontiguousarray(indices, dtype=np.int32).reshape(-1)
    if not flat.any():  # a constant array takes a dozen bytes, whatever its shape
        return encode_lossless(np.zeros(indices.shape, dtype), threads=threads)
    header, chunks = _core.encode_indices(
        flat, step, list(offsets), output, row_length(indices.shape), effort == "max", threads
    )
    return CodedArray(header, chunks)


def estimate_indices(indices: NDArray[np.int32], *, effort: Effort = "max") -> float:
    """Bytes that `encode_indices` would take, from its tables, without coding."""
    flat = np.ascontiguousarray(indices, dtype=np.int32).reshape(-1)
    return float(_core.estimate_indices(flat, row_length(indices.shape), effort == "max"))


def decoded_nbytes(header: Buffer) -> int:
    """Bytes that the array with this header decodes to; FormatError if it is not a header."""
    try:
        return int(_core.inspect(np.frombuffer(header, np.uint8))["nbytes"])
    except _core.CoreFormatError as error:
        raise FormatError(str(error)) from None


def decode(jobs: Sequence[Job], *, threads: int = 1, kernels: str = "") -> None:
    """Decode arrays into their buffers; their chunks are shared out among `threads`.

    Raises FormatError (naming job and chunk) for anything an encoder would not have written, and
    never reads or writes outside the buffers given. `kernels` names a decoder of
    `taut._core.kernels()`; by default the widest that this processor runs.
    """
    try:
        work = [(j.header, j.chunks, _bytes_of(j.out), _base_of(j)) for j in jobs]
        _core.decode(work, threads, kernels)
    except _core.CoreFormatError as error:
        raise FormatError(str(error)) from None


def _bytes_of(out: np.ndarray) -> NDArray[np.uint8]:
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ArgumentError("decode into a C-contiguous, writable array")
    return out.reshape(-1).view(np.uint8)


def _base_of(job: Job) -> NDArray[np.uint8] | None:
    """The bytes of a job's base; a delta without one is refused where it is decoded."""
    return None if job.base is None else job.base.reshape(-1).view(np.uint8)


def _names() -> str:
    return ", ".join(str(d) for d in OUTPUTS)
