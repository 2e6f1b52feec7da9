"""Tensors that are too large to be held: coded as they are read, to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import xxhash

from taut.coding import CodedArray, Effort, LosslessStream, RecordStream, chunked, streams
from taut.coding.packed_codes import Read, record_layout, row_bytes, word_effort
from taut.container import Layout
from taut.container.added import PieceFacts
from taut.container.format import PART
from taut.encoding.few_bytes import FewBytes
from taut.encoding.tensor import Quantize
from taut.io import Source, TensorInfo, storage
from taut.io.equal_tensors import EqualTensors
from taut.io.pairs import PairsInfo
from taut.io.records_info import RecordsInfo
from taut.io.tensor_pieces import LARGE, PIECE, pieces_of, reader_of
from taut.scheme import Scheme


@dataclass(frozen=True)
class PieceOptions:
    """How hard to look for bytes, on how many threads; what rounds, and finds equal tensors."""

    effort: Effort
    threads: int
    quantize: Quantize | None = None
    known: EqualTensors | None = None


def in_pieces(info: TensorInfo, scheme: Scheme) -> bool:
    """Whether a tensor is so large, and its scheme such, that it is coded piece by piece."""
    if info.nbytes <= LARGE or isinstance(info, PairsInfo):
        return False
    exact = scheme in (Scheme(), Scheme("keep"))
    return exact and streams(storage(info.dtype, info.shape)[0])


def add_in_pieces(
    layout: Layout,
    source: Source,
    info: TensorInfo,
    scheme: Scheme,
    options: PieceOptions,
) -> None:
    """Add a tensor, bit for bit, of which 64 MiB are held at a time; it is read four times.

    It becomes an alias where one before it is equal.
    """
    known = options.known
    if scheme.kind == "keep":
        layout.add_kept_pieces(info, str(scheme), pieces_of(source, info))
        return
    stream = exact_stream(reader_of(source, info.name), info, options.effort)
    sums = _BothSums()
    stream.prepare(sums.update)
    twin = None if known is None else known.first_of_pieces(info, sums.wide, str(scheme))
    if twin is not None:
        layout.add_alias(info, twin)
        return
    if chunked(stream.header).constant:
        layout.add_coded(info, str(scheme), CodedArray(stream.header, ()), sums.text)
        return
    facts, few = PieceFacts(sums.text), FewBytes()

    def pays(nbytes: int, parts: int) -> bool:
        return not few.are and nbytes + PART * parts < info.nbytes

    coded = few.kept(_parts(stream, options.threads))
    if layout.add_pieces(info, str(scheme), coded, lambda: facts, accept=pays):
        return
    if few.are:
        layout.add_coded(info, str(scheme), few.coded(), sums.text)
    else:
        layout.add_kept_pieces(info, str(scheme), pieces_of(source, info))


def exact_stream(read: Read, info: TensorInfo, effort: Effort) -> LosslessStream | RecordStream:
    """What codes a tensor as `encode_tensor` does, piece by piece."""
    if isinstance(info, RecordsInfo):
        return RecordStream(read, info.nbytes, info.layout, info.row_bytes, block=PIECE)
    dtype, shape = storage(info.dtype, info.shape)
    layout = record_layout(read, shape, dtype, effort)
    if layout is None:
        effort = word_effort(dtype, effort)
        return LosslessStream(read, shape, dtype, effort=effort, block=PIECE)
    width = dtype.itemsize

    def read_bytes(begin: int, end: int) -> np.ndarray:
        first = begin // width
        values = read(first, -(-end // width)).view(np.uint8)
        return values[begin - first * width : end - first * width]

    each = row_bytes(layout, shape, width)
    return RecordStream(read_bytes, prod(shape) * width, layout, each, block=PIECE)


def _parts(stream: LosslessStream | RecordStream, threads: int) -> Iterator[bytes]:
    yield stream.header
    yield from stream.chunks(threads=threads)


class _BothSums:
    """Both checksums of what is read: the file's, and the one that finds equal tensors."""

    def __init__(self) -> None:
        self._sum, self._wide = xxhash.xxh3_64(), xxhash.xxh3_128()

    def update(self, piece: np.ndarray) -> None:
        """Take in a piece."""
        self._sum.update(piece.data)
        self._wide.update(piece.data)

    @property
    def text(self) -> str:
        """As the file has it."""
        return str(self._sum.hexdigest())

    @property
    def wide(self) -> bytes:
        """128 bits."""
        return bytes(self._wide.digest())
