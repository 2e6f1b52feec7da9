"""Indices coded as they come in pieces, to the same bytes as at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding.adaptive import check_rows
from taut.coding.coder import OUTPUTS, Effort, row_length
from taut.coding.streams import Read

_NO_BYTES = np.empty(0, np.uint8)
_NO_FLOATS = np.empty(0, np.float32)
_NO_INTEGERS = np.empty(0, np.int32)


class IndexStream(Protocol):
    """An array in the coding: after `prepare` there is a `header`, then chunks are asked for."""

    header: bytes

    def prepare(self) -> None:
        """Look at all indices as often as it takes."""

    def chunks(self, *, threads: int = 1) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """The coded chunks of a piece after the other, with the number of the first of them."""


class _CodedPasses(Protocol):
    """What codes the chunks of a piece, once it has seen all pieces."""

    def code(self, indices: NDArray[np.int32], threads: int) -> tuple[bytes, ...]: ...


class _InPieces:
    """Indices that `read` gives piece by piece: the numbers `begin` to `end` of `count` units.

    A unit is a value or a row of `width` values; a chunk holds `each` units, a piece some `block`
    values, in whole chunks.
    """

    def __init__(
        self, passes: _CodedPasses, read: Read, count: int, width: int, each: int, block: int
    ) -> None:
        self._passes, self._read, self._count, self._each = passes, read, count, each
        self._step = each * max(1, block // (each * width))
        self.header = b""

    def _pieces(self) -> Iterator[NDArray[np.int32]]:
        for begin in range(0, self._count, self._step):
            yield self._flat(begin, min(self._count, begin + self._step))

    def _flat(self, begin: int, end: int) -> NDArray[np.int32]:
        return np.ascontiguousarray(self._read(begin, end), dtype=np.int32).reshape(-1)

    def chunks(self, *, threads: int = 1) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """The coded chunks of a piece after the other, with the number of the first of them."""
        for number, piece in enumerate(self._pieces()):
            yield number * self._step // self._each, self._passes.code(piece, threads)


class MatrixStream(_InPieces):
    """`encode_matrix` of rows that come in pieces, three times; the same bytes.

    No column is scaled. `read` gives the indices (int32) of some rows, `block` says of about how
    many values a piece is. After `prepare` there is a `header`; `chunks` then gives the coded
    chunks, those of a piece together, with the number of the first.

    >>> q = np.random.default_rng(0).integers(-3, 4, (900, 50)).astype(np.int32)
    >>> stream = MatrixStream(lambda a, b: q[a:b], q.shape, 0.5, dtype=np.dtype(np.float32))
    >>> stream.prepare()
    >>> from taut.coding import encode_matrix
    >>> coded = encode_matrix(q, step=0.5, trellis=True, dtype=np.dtype(np.float32))
    >>> (stream.header, [c for _, some in stream.chunks() for c in some]) == (
    ...     coded.header, list(coded.chunks))
    True
    """

    def __init__(
        self,
        read: Read,
        shape: tuple[int, int],
        step: float,
        *,
        offsets: tuple[float, float, float] = (0.0, 0.0, 0.0),
        row_exponents: NDArray[np.uint8] | None = None,
        row_fraction: int = 2,
        trellis: bool = True,
        dtype: np.dtype,
        effort: Effort = "max",
        block: int = 1 << 24,
    ) -> None:
        height, columns = shape
        exponents = _NO_BYTES if row_exponents is None else np.ascontiguousarray(row_exponents)
        self._core = _core.MatrixPasses(
            height, columns, step, list(offsets), OUTPUTS[dtype], trellis, effort == "max",
            exponents, row_fraction,
        )  # fmt: skip
        super().__init__(self._core, read, height, columns, self._core.chunk_rows(), block)

    def prepare(self) -> None:
        """Look at all indices twice."""
        for rows in self._pieces():
            self._core.sum(rows)
        for rows in self._pieces():
            self._core.count(rows)
        self.header = self._core.header()


class UniformStream(_InPieces):
    """`encode_indices` of values that come in pieces, three times; the same bytes.

    Not all of them are zero. `read` gives the indices (int32) of some values, flat; the rest is as
    for `MatrixStream`.

    >>> q = np.random.default_rng(0).integers(-3, 4, 400_000).astype(np.int32)
    >>> stream = UniformStream(lambda a, b: q[a:b], q.shape, 0.5, dtype=np.dtype(np.float32))
    >>> stream.prepare()
    >>> from taut.coding import encode_indices
    >>> coded = encode_indices(q, step=0.5, offsets=(0, 0, 0), dtype=np.dtype(np.float32))
    >>> (stream.header, [c for _, some in stream.chunks() for c in some]) == (
    ...     coded.header, list(coded.chunks))
    True
    """

    def __init__(
        self,
        read: Read,
        shape: tuple[int, ...],
        step: float,
        *,
        offsets: tuple[float, float, float] = (0.0, 0.0, 0.0),
        dtype: np.dtype,
        effort: Effort = "max",
        block: int = 1 << 24,
    ) -> None:
        count = int(np.prod(shape, dtype=np.int64))
        self._core = _core.UniformPasses(
            count, step, list(offsets), OUTPUTS[dtype], row_length(shape), effort == "max"
        )
        super().__init__(self._core, read, count, 1, self._core.chunk_values(), block)

    def prepare(self) -> None:
        """Look at all indices twice."""
        for q in self._pieces():
            self._core.scan(q)
        for q in self._pieces():
            self._core.tally(q)
        self.header = self._core.header()


@dataclass(frozen=True, kw_only=True)
class IndexValues:
    """What indices stand for, as `encode_adaptive` has it; the numbers of all rows."""

    step: float | None = None
    levels: NDArray[np.float32] | None = None
    low: int = 0
    scales: NDArray[np.float32] | None = None
    zeros: NDArray[np.int32] | None = None
    group: int | None = None


class AdaptiveStream(_InPieces):
    """`encode_adaptive` of rows that come in pieces, twice; the same bytes.

    Not all of them are one and the same index. `read` gives the indices (int32) of some rows; the
    rest is as for `MatrixStream`.

    >>> q = np.random.default_rng(0).integers(-1, 2, (900, 50)).astype(np.int32)
    >>> values, dtype = IndexValues(step=0.5), np.dtype(np.float32)
    >>> stream = AdaptiveStream(lambda a, b: q[a:b], q.shape, values, dtype=dtype)
    >>> stream.prepare()
    >>> from taut.coding import encode_adaptive
    >>> coded = encode_adaptive(q, step=0.5, dtype=dtype)
    >>> (stream.header, [c for _, some in stream.chunks() for c in some]) == (
    ...     coded.header, list(coded.chunks))
    True
    """

    def __init__(
        self,
        read: Read,
        shape: tuple[int, int],
        values: IndexValues,
        *,
        period: int = 1,
        dtype: np.dtype,
        block: int = 1 << 24,
    ) -> None:
        height, columns = shape
        check_rows(columns, period)
        group = values.group if values.group is not None and values.group < columns else 0
        self._core = _core.AdaptivePasses(
            height * columns,
            columns,
            0.0 if values.step is None else values.step,
            _flat(values.levels, _NO_FLOATS),
            values.low,
            _flat(values.scales, _NO_FLOATS),
            _flat(values.zeros, _NO_INTEGERS),
            group,
            period,
            OUTPUTS[dtype],
        )
        super().__init__(self._core, read, height, columns, self._core.chunk_rows(), block)

    def prepare(self) -> None:
        """Look at all indices once."""
        for rows in self._pieces():
            self._core.count(rows)
        self.header = self._core.header(self._flat(0, self._core.sample_rows()))


def _flat(given: np.ndarray | None, without: np.ndarray) -> np.ndarray:
    if given is None:
        return without
    return np.ascontiguousarray(given, dtype=without.dtype).reshape(-1)
