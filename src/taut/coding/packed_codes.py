"""Codes of a few bits, packed in bytes or words, and bytes that stand for floats: as records.

Packed weights are noise to a coder of words: two or eight codes in one symbol, or in raw bits. What
a tensor is, a sample of its rows tells: whether its bytes take less as two codes each, or as they
are, than its words do. Neither names nor configs count.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.coding.coder import CodedArray, Effort, encode_lossless, row_length
from taut.coding.records import BitPiece, RecordField, RecordLayout, encode_records

Read = Callable[[int, int], np.ndarray]
"""Gives values of an array from one number to another, flat, in its dtype."""

_SAMPLE: Final = 1 << 20  # bytes of whole rows that are looked at
_RECORD: Final = 64  # bytes, where the array's fill such
_GAIN: Final = 0.998  # of what words take; less is not worth another kind
_TABLES: Final = 64  # bytes of a header


def encode_bits(values: np.ndarray, *, effort: Effort = "fast", threads: int = 1) -> CodedArray:
    """Code an array bit for bit: its words, or what is packed in its bytes.

    >>> codes = np.tile(np.arange(4, dtype=np.uint8) * 17, 3000)
    >>> encode_bits(codes).nbytes < 6200
    True
    """
    flat = values.reshape(-1)
    layout = record_layout(lambda a, b: flat[a:b], values.shape, values.dtype, effort)
    if layout is None:
        return encode_lossless(values, effort=word_effort(values.dtype, effort), threads=threads)
    each = row_bytes(layout, values.shape, values.dtype.itemsize)
    return encode_records(flat.view(np.uint8), layout, each, threads=threads)


def record_layout(
    read: Read, shape: tuple[int, ...], dtype: np.dtype, effort: Effort
) -> RecordLayout | None:
    """How to code an array as records of bytes; None where its words take about as little.

    The answer depends on a sample of it, at most a mebibyte of rows, and so on nothing else.

    >>> rng = np.random.default_rng(0)
    >>> codes = np.clip(np.rint(rng.normal(8, 2, (64, 4096))), 0, 15).astype(np.uint8)
    >>> words = (codes[:, ::2] | codes[:, 1::2] << 4).view(np.int32)
    >>> flat = words.reshape(-1)
    >>> layout = record_layout(lambda a, b: flat[a:b], words.shape, words.dtype, "fast")
    >>> layout.fields[0].elements
    2
    """
    count = prod(shape)
    if not _may_be(dtype) or not count:
        return None
    sample = _rows(read, count, max(1, row_length(shape)), dtype.itemsize)
    data = sample.reshape(-1).view(np.uint8)
    words = encode_lossless(sample, effort=word_effort(dtype, effort)).nbytes
    whole, halves = _entropies(data)
    elements = 2 if halves <= whole + data.size / 1000 else 1
    if (halves if elements == 2 else whole) + _TABLES > _GAIN * words:
        return None
    record = int(np.gcd(_RECORD, count * dtype.itemsize))
    return RecordLayout(
        record, (RecordField((BitPiece(0, 8, (8,)),), (record,), elements=elements),)
    )


def word_effort(dtype: np.dtype, effort: Effort) -> Effort:
    """How hard to code words: those of one byte have no raw bits, and so the dense coder's gain.

    >>> word_effort(np.dtype(np.uint8), "fast"), word_effort(np.dtype(np.float16), "fast")
    ('max', 'fast')
    """
    return "max" if dtype.itemsize == 1 else effort


def row_bytes(layout: RecordLayout, shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of a row of records: about those of a row of the array, in whole records."""
    wanted = max(1, row_length(shape)) * itemsize
    return layout.record * max(1, wanted // layout.record)


def _may_be(dtype: np.dtype) -> bool:
    """Whether values of a dtype may be codes: of one byte, or integers of 32 bits."""
    if dtype.itemsize == 1:
        return dtype != np.bool_
    return dtype.kind in "iu" and dtype.itemsize == 4


def _rows(read: Read, count: int, width: int, itemsize: int) -> np.ndarray:
    """Whole rows of an array, evenly spread, of about a mebibyte at most."""
    most = max(1, _SAMPLE // (width * itemsize))
    rows = count // width
    if rows <= 1 or width * itemsize > _SAMPLE:
        return read(0, min(count, _SAMPLE // itemsize)).reshape(1, -1)
    if rows <= most:
        return read(0, rows * width).reshape(rows, width)
    picks = [row * rows // most for row in range(most)]
    return np.concatenate([read(row * width, (row + 1) * width) for row in picks]).reshape(
        most, width
    )


def _entropies(data: NDArray[np.uint8]) -> tuple[float, float]:
    """Bytes that data take at the entropy of their bytes, and of their halves, taken as alike."""
    counts = np.bincount(data, minlength=256).reshape(16, 16)
    return _bytes_of(counts.reshape(-1)), _bytes_of(counts.sum(axis=0) + counts.sum(axis=1))


def _bytes_of(counts: NDArray[np.integer]) -> float:
    live = counts[counts > 0].astype(np.float64)
    return float(-(live * np.log2(live / live.sum())).sum() / 8)
