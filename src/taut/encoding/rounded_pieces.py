"""Matrices that are too large to be held, rounded by the trellis as they are read: the same bytes.

Their indices lie in a temporary file meanwhile (TMPDIR), a byte or two each.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from taut.coding import CodedArray, MatrixStream, chunked, decode_chunks, encode_lossless
from taut.container import Layout
from taut.encoding.data_free_rounder import Quantizer, sparse
from taut.encoding.in_pieces import PieceOptions, add_in_pieces, in_pieces
from taut.encoding.tensor import RelativeError, check_finite
from taut.errors import ArgumentError, TautError
from taut.io import Source, TensorInfo, storage
from taut.io.dtypes import tensor_nbytes
from taut.io.pairs import PairsInfo
from taut.io.tensor_pieces import LARGE, PIECE, Read, pieces_of, reader_of
from taut.planning import quantisable
from taut.scheme import Scheme
from taut.transform.quantize import (
    Levels,
    block_rows,
    power_of,
    rounds_to_zero,
    search_rows,
    trellis_levels,
)

_INDICES = 1 << 24  # that are held at a time


@dataclass(frozen=True)
class LargeMatrix:
    """A matrix of which some rows are read at a time; `name` is the tensor's."""

    info: TensorInfo
    read: Read

    @classmethod
    def of(cls, source: Source, info: TensorInfo) -> LargeMatrix:
        """A tensor of a source, its first axis as rows."""
        return cls(info, reader_of(source, info.name))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.info.shape[0], math.prod(self.info.shape[1:])

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Some rows in order."""
        columns = self.shape[1]
        return self.read(begin * columns, end * columns).reshape(-1, columns)

    def pick(self, rows: NDArray[np.int64]) -> np.ndarray:
        """Some rows, by number."""
        return np.concatenate([self.rows(row, row + 1) for row in map(int, rows)])

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, those together that are rounded together."""
        count, columns = self.shape
        step = block_rows(columns)
        return (self.rows(at, min(count, at + step)) for at in range(0, count, step))

    @cached_property
    def largest(self) -> float:
        """The largest magnitude; all values are looked at, once."""
        return self._facts[0]

    @cached_property
    def power(self) -> float:
        """The sum of squares."""
        return self._facts[1]

    @cached_property
    def _facts(self) -> tuple[float, float]:
        largest = power = 0.0
        for block in self.blocks():
            check_finite(self.info, block, Scheme("rd"))
            largest = max(largest, float(block.max()), -float(block.min()))
            power += power_of(block)
        return largest, power


def rounds_in_pieces(info: TensorInfo, scheme: Scheme, quantize: object) -> bool:
    """Whether a tensor is so large, and rounded in such a way, that it need not be held."""
    if info.nbytes <= LARGE or isinstance(info, PairsInfo) or not isinstance(quantize, Quantizer):
        return False
    dialled = scheme.kind == "rd" and scheme.bits is None and not sparse(scheme)
    return dialled and quantize.trellis and quantisable(info.dtype, info.shape)


def added_in_pieces(
    layout: Layout, source: Source, info: TensorInfo, scheme: Scheme, options: PieceOptions
) -> bool:
    """Add a tensor that is too large to be held; False where it is not, or has to be held.

    Raises:
        ArgumentError: the scheme cannot be carried out on its values.
    """
    if in_pieces(info, scheme):
        add_in_pieces(layout, source, info, scheme, options)
        return True
    quantize = options.quantize
    if not rounds_in_pieces(info, scheme, quantize) or not isinstance(quantize, Quantizer):
        return False
    return _added_rounded(layout, source, info, scheme, quantize, options)


def _added_rounded(
    layout: Layout,
    source: Source,
    info: TensorInfo,
    scheme: Scheme,
    quantize: Quantizer,
    options: PieceOptions,
) -> bool:
    """Add a matrix at the dial's step; False where it is to be rounded otherwise, and held."""
    known = options.known
    matrix = quantize.large.setdefault(info.name, LargeMatrix.of(source, info))
    assert isinstance(matrix, LargeMatrix)
    step = quantize.step_of(info.name)
    zero = rounds_to_zero(matrix.largest, step)
    levels = None if zero else trellis_levels(matrix, step)
    if levels is None and not zero:
        return False
    twin = (
        None if known is None else known.first_of_pieces(info, _digest(source, info), str(scheme))
    )
    if twin is not None:
        layout.add_alias(info, twin)
        return True
    with tempfile.TemporaryFile() as file:
        indices = _IndexFile(file, matrix.shape[1])
        if levels is not None:
            _round(matrix, levels, indices, options.threads)
        if levels is None or not indices.any:
            _add_zeros(layout, matrix, scheme)
        else:
            _add_coded(layout, matrix, scheme, levels, indices, options)
    return True


@dataclass
class _IndexFile:
    """Indices of whole rows, block after block, each of the least dtype that holds it."""

    file: BinaryIO
    columns: int
    any: bool = False
    _blocks: list[tuple[int, int, np.dtype, int]] = field(default_factory=list)
    _rows: int = 0

    def add(self, block: NDArray[np.signedinteger]) -> None:
        """Put some rows behind those that are there."""
        try:
            at = self.file.tell()
            self.file.write(np.ascontiguousarray(block).data)
        except OSError as error:
            raise TautError(
                f"{tempfile.gettempdir()}: indices cannot be kept there ({error.strerror}); name "
                "another folder as TMPDIR"
            ) from error
        self._blocks.append((self._rows, self._rows + len(block), block.dtype, at))
        self._rows += len(block)
        self.any = self.any or bool(block.any())

    def read(self, begin: int, end: int) -> NDArray[np.int32]:
        """Some rows again."""
        found = np.empty((end - begin, self.columns), np.int32)
        for first, last, dtype, at in self._blocks:
            low, high = max(begin, first), min(end, last)
            if low >= high:
                continue
            self.file.seek(at + (low - first) * self.columns * dtype.itemsize)
            data = self.file.read((high - low) * self.columns * dtype.itemsize)
            rows = np.frombuffer(data, dtype).reshape(-1, self.columns)
            found[low - begin : high - begin] = rows
        return found


def _round(matrix: LargeMatrix, levels: Levels, indices: _IndexFile, threads: int) -> None:
    for block in matrix.blocks():
        try:
            indices.add(search_rows(block, levels, threads=threads))
        except ArgumentError as error:
            raise ArgumentError(f'tensor "{matrix.info.name}": {error}') from None


def _add_coded(
    layout: Layout,
    matrix: LargeMatrix,
    scheme: Scheme,
    levels: Levels,
    indices: _IndexFile,
    options: PieceOptions,
) -> None:
    info = matrix.info
    dtype = storage(info.dtype, info.shape)[0]
    stream = MatrixStream(
        indices.read,
        matrix.shape,
        levels.distance,
        offsets=levels.offsets,
        dtype=dtype,
        effort=options.effort,
        block=_INDICES,
    )
    stream.prepare()
    digest, error = xxhash.xxh3_64(), RelativeError()

    def coded() -> Iterator[bytes]:
        """The parts, each decoded and compared with what it stands for before it goes."""
        yield stream.header
        facts, at = chunked(stream.header), 0
        for first, chunks in stream.chunks(threads=options.threads):
            size = min(info.nbytes - at, len(chunks) * facts.chunk_nbytes)
            out = np.empty(size, np.uint8)
            decode_chunks(stream.header, info.nbytes, first, chunks, out, threads=options.threads)
            digest.update(out.data)
            begin, at = at, at + size
            width = dtype.itemsize
            error.add(matrix.read(begin // width, at // width), out.view(dtype))
            yield from chunks

    layout.add_pieces(
        info, str(scheme), coded(), lambda: (digest.hexdigest(), _finite(info, scheme, error))
    )


def _finite(info: TensorInfo, scheme: Scheme, error: RelativeError) -> float:
    found = error.close()
    if not math.isfinite(found):
        raise ArgumentError(
            f'tensor "{info.name}": scheme {scheme} rounds a value out of {info.dtype}; '
            "leave the tensor lossless"
        )
    return found


def _add_zeros(layout: Layout, matrix: LargeMatrix, scheme: Scheme) -> None:
    info = matrix.info
    dtype, shape = storage(info.dtype, info.shape)
    header = encode_lossless(np.zeros(shape, dtype)).header  # pages that are never made
    digest, left = xxhash.xxh3_64(), tensor_nbytes(info.dtype, info.shape)
    block = bytes(min(left, PIECE))
    while left:
        digest.update(block[:left])
        left -= min(left, len(block))
    rel_mse = 1.0 if matrix.power else 0.0
    checksum = digest.hexdigest()
    layout.add_coded(info, str(scheme), CodedArray(header, ()), checksum, rel_mse=rel_mse)


def _digest(source: Source, info: TensorInfo) -> bytes:
    digest = xxhash.xxh3_128()
    for piece in pieces_of(source, info):
        digest.update(piece.view(np.uint8).data)
    return bytes(digest.digest())
