"""Tensors that are too large to be held, as what they differ by from a base's: the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from taut.coding import DeltaStream, chunked, streams
from taut.container import Layout
from taut.container.added import BaseTensor, PieceFacts
from taut.container.format import PART
from taut.encoding.few_bytes import FewBytes
from taut.encoding.in_pieces import PieceOptions, exact_stream
from taut.encoding.on_base import OnBase
from taut.io import TensorInfo, storage
from taut.io.pairs import PairsInfo
from taut.io.tensor_pieces import LARGE, PIECE, Read, reader_of

WORTH = 0.6  # of a tensor's bytes: a delta that takes more may be larger than the tensor alone


def exact_in_pieces(based: OnBase, info: TensorInfo) -> bool:
    """Whether a tensor is so large, and the base has one of its name, that it is coded so."""
    if info.nbytes <= LARGE or isinstance(info, PairsInfo) or not based.has(info):
        return False
    return streams(storage(info.dtype, info.shape)[0])


def added_exactly_in_pieces(
    layout: Layout, based: OnBase, info: TensorInfo, options: PieceOptions
) -> bool:
    """Add a tensor, bit for bit, as what it differs by; False where it takes less alone.

    64 MiB of it and of the base's are held at a time; it is read twice, the base's three times.
    """
    dtype, shape = storage(info.dtype, info.shape)
    read = reader_of(based.whole, info.name)
    base_read = based.base.reader(info.name)
    stream = DeltaStream(read, base_read, shape, dtype, effort=options.effort, block=PIECE)
    sums = _SumsOfBoth()
    stream.measure(sums.update)
    base = BaseTensor(None, sums.base.hexdigest())
    if sums.own.digest() == sums.base.digest():
        layout.add_base(info, "lossless", base)
        return True
    stream.prepare()
    few = FewBytes()

    def pays(nbytes: int, parts: int) -> bool:
        taken = nbytes + PART * parts
        if few.are or taken <= WORTH * info.nbytes:
            return not few.are
        return taken < _alone(read, info, options)

    facts = PieceFacts(sums.own.hexdigest())
    parts = few.kept(_parts(stream, options.threads))
    if layout.add_pieces(
        info, "lossless", parts, lambda: facts, accept=pays, base=base, on_base="delta"
    ):
        return True
    if few.are:
        layout.add_coded(info, "lossless", few.coded(), facts.sum, base=base, on_base="delta")
    return few.are


class _SumsOfBoth:
    """The checksums of a tensor and of the base's."""

    def __init__(self) -> None:
        self.own, self.base = xxhash.xxh3_64(), xxhash.xxh3_64()

    def update(self, values: np.ndarray, base: np.ndarray) -> None:
        """Take in a piece of each."""
        self.own.update(values.data)
        self.base.update(base.data)


def _parts(stream: DeltaStream, threads: int) -> Iterator[bytes]:
    yield stream.header
    yield from stream.chunks(threads=threads)


def _alone(read: Read, info: TensorInfo, options: PieceOptions) -> int:
    """The bytes that a tensor takes without a base: it is coded, and nothing is kept."""
    stream = exact_stream(read, info, options.effort)
    stream.prepare(lambda block: None)
    found = len(stream.header) + PART
    if not chunked(stream.header).constant:
        found += sum(len(chunk) + PART for chunk in stream.chunks(threads=options.threads))
    return min(found, info.nbytes)
