"""A split or uniform array as its kernels take it: where each row's symbols and raw bits lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taut.coding.gpu.chunk_fields import ChunkFields, NotForGpuError

_SHORTEST_ROW = 32  # what stands beside each row would outgrow its values
_MOST_ROWS = 1 << 28


@dataclass(frozen=True)
class PlannedSplit:
    """Rows, and segments of rows that share a table, by number; bytes count in the chunk."""

    starts: NDArray[np.int64]  # of each row: its first symbol, in coded order
    raws: NDArray[np.int64]  # of each row: its first byte of raw bits in its chunk
    marked: NDArray[np.uint8]  # of each row: whether it drops bits
    chunk_of: NDArray[np.int32]
    segments: NDArray[np.int32]  # table, symbols, what an escape decodes to
    first_segment: NDArray[np.int64]  # of each chunk
    segment_count: NDArray[np.int64]
    first_symbol: NDArray[np.int64]


def plan_split(h: dict[str, Any], chunks: Sequence[ChunkFields]) -> PlannedSplit:
    """Plan an array from what `taut._core.device_header` says of it.

    Raises:
        NotForGpuError: the raw bits are not as many as the header says, rows are too short, or
            zeros bare.
    """
    columns, count, each = h["row_length"], h["count"], h["chunk_rows"]
    rows = -(-count // columns)
    if h["skip_zero"] or columns < _SHORTEST_ROW or rows > _MOST_ROWS:
        raise NotForGpuError
    row_bytes = np.frombuffer(h["rows"], np.uint8) if h["rows"] else np.zeros(rows, np.uint8)
    lengths = np.full(rows, columns, np.int64)
    lengths[-1] = count - columns * (rows - 1)
    chunk_of = np.arange(rows, dtype=np.int64) // each
    table, marked = row_bytes & 127, (row_bytes >> 7).astype(np.uint8)

    key = chunk_of * 128 + table
    order = np.argsort(key, kind="stable")
    ends = np.cumsum(lengths[order])
    starts = np.empty(rows, np.int64)
    starts[order] = ends - lengths[order]
    firsts = np.flatnonzero(np.diff(key[order], prepend=-1))
    tables = key[order][firsts] % 128
    marks = np.frombuffer(h["marks"], np.uint8)
    segments = np.stack([tables, np.add.reduceat(lengths[order], firsts), marks[tables]], 1)
    segment_count = np.bincount(key[order][firsts] // 128, minlength=len(chunks))
    return PlannedSplit(
        starts,
        _raws(h, lengths, marked, chunk_of, chunks),
        marked,
        chunk_of.astype(np.int32),
        segments.astype(np.int32),
        np.cumsum(segment_count) - segment_count,
        segment_count,
        np.arange(len(chunks), dtype=np.int64) * each * columns,
    )


def _raws(
    h: dict[str, Any],
    lengths: NDArray[np.int64],
    marked: NDArray[np.uint8],
    chunk_of: NDArray[np.int64],
    chunks: Sequence[ChunkFields],
) -> NDArray[np.int64]:
    """The first byte of each row's raw bits in its chunk."""
    bits = h["low"] - h["drop"] * marked.astype(np.int64)
    nbytes = (lengths * bits + 7) // 8 if h["kind"] == "split" else np.zeros_like(lengths)
    firsts = np.arange(len(chunks)) * h["chunk_rows"]
    if np.any(np.add.reduceat(nbytes, firsts) != [chunk.raw_nbytes for chunk in chunks]):
        raise NotForGpuError
    ahead = np.cumsum(nbytes) - nbytes
    begin = np.array([chunk.raw for chunk in chunks], np.int64)
    found: NDArray[np.int64] = ahead - ahead[firsts][chunk_of] + begin[chunk_of]
    return found
