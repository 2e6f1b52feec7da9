"""A matrix as its kernels take it: groups of rows in coded order, contexts, scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taut.coding.gpu.chunk_fields import LANES, NotForGpuError

_FEWEST_COLUMNS = 8  # what stands beside each row would outgrow its values
_MOST_COLUMNS = 1 << 20  # a grid has at most 65,535 programs in its second direction


@dataclass(frozen=True)
class PlannedMatrix:
    """Rows in coded order, and groups of them; the symbols of `order[i]` begin at i * columns."""

    order: NDArray[np.int64]  # rows of the array
    groups: NDArray[np.int32]  # row class, rows
    places: NDArray[np.int64]  # of each group: its first level, its first row in order, its rows
    first_group: NDArray[np.int64]  # of each chunk
    group_count: NDArray[np.int64]
    first_symbol: NDArray[np.int64]
    contexts: NDArray[np.uint8]  # by row class and column


def plan_matrix(h: dict[str, Any]) -> PlannedMatrix:
    """Plan a matrix from what `taut._core.device_header` says of it.

    Raises:
        NotForGpuError: its rows are too short or too long.
    """
    columns, each, chunks = h["row_length"], h["chunk_rows"], h["chunks"]
    rows = h["count"] // columns
    if not _FEWEST_COLUMNS <= columns <= _MOST_COLUMNS:
        raise NotForGpuError
    classes = _bytes_or_zeros(h["row_classes"], rows)
    key = np.arange(rows, dtype=np.int64) // each * 64 + classes
    order = np.argsort(key, kind="stable")
    runs = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(runs, append=rows)
    lanes = LANES[h["coder"]]
    pieces = -(-sizes // lanes)  # groups of each run of rows of one class
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = np.repeat(runs, pieces) + within * lanes
    n = np.minimum(lanes, np.repeat(runs + sizes, pieces) - first)
    of_group = key[order][first]
    group_count = np.bincount(of_group // 64, minlength=chunks)
    return PlannedMatrix(
        order,
        np.stack([of_group % 64, n], 1).astype(np.int32),
        np.stack([first * columns, first, n], 1),
        np.cumsum(group_count) - group_count,
        group_count,
        np.arange(chunks, dtype=np.int64) * each * columns,
        _contexts(h, int(classes.max()) + 1, columns),
    )


def _contexts(h: dict[str, Any], classes: int, columns: int) -> NDArray[np.uint8]:
    of_column = _bytes_or_zeros(h["column_classes"], columns)
    shape = (classes, h["column_class_count"])
    found = _bytes_or_zeros(h["map"], shape[0] * shape[1]).reshape(shape)
    return np.ascontiguousarray(found[:, of_column])


def _bytes_or_zeros(data: bytes, count: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8) if data else np.zeros(count, np.uint8)
