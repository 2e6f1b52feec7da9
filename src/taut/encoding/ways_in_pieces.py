"""Which way of coding takes least of what is too large to be held: as choose_coder.py, in pieces.

The first way is coded into the file at once; only where others might be smaller is it taken back,
and their bytes are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from taut.coding import (
    Effort,
    IndexStream,
    LosslessStream,
    chunked,
    decode_chunks,
)
from taut.container import Layout
from taut.container.added import PieceFacts
from taut.container.format import PACKED
from taut.encoding.decoded_sums import AddedTo, DecodedSums
from taut.encoding.few_bytes import FewBytes
from taut.errors import ArgumentError
from taut.io import TensorInfo, storage
from taut.io.tensor_pieces import PIECE, Read
from taut.scheme import Scheme

MakeStream = Callable[[], IndexStream]


class FloatStream:
    """What indices decode to, coded bit for bit: `values` gives it, flat, in its dtype."""

    def __init__(
        self, values: Read, shape: tuple[int, ...], dtype: np.dtype, effort: Effort = "fast"
    ) -> None:
        self.values = values
        self._stream = LosslessStream(values, shape, dtype, effort=effort, block=PIECE)
        self.header = b""

    def prepare(self) -> None:
        """Look at all values."""
        self._stream.prepare(lambda block: None)
        self.header = self._stream.header

    def chunks(self, *, threads: int = 1) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """The coded chunks in order."""
        if chunked(self.header).constant:
            return
        for number, chunk in enumerate(self._stream.chunks(threads=threads)):
            yield number, (chunk,)


@dataclass(frozen=True)
class CodingWays:
    """The ways to code a tensor: the first, and each other one where it might be smaller.

    `others` are asked with the bytes of the first way (None where there is none), and of the best
    so far.
    """

    first: MakeStream | None
    others: tuple[tuple[Callable[[int | None, int | None], bool], MakeStream], ...] = ()


def smallest_nbytes(ways: CodingWays, threads: int) -> int:
    """The bytes of the way that takes least; nothing is kept."""
    found = [] if ways.first is None else [(_counted(ways.first, threads), ways.first)]
    return _smallest(ways, found, threads)[0]


def _smallest(
    ways: CodingWays, found: list[tuple[int, MakeStream]], threads: int
) -> tuple[int, MakeStream]:
    """The best of the first way, where there is one, and of the others that may be smaller."""
    first = found[0][0] if found else None
    for serves, make in ways.others:
        best = min(found, key=_nbytes)[0] if found else None
        if serves(first, best):
            found.append((_counted(make, threads), make))
    return min(found, key=_nbytes)


def _counted(make: MakeStream, threads: int) -> int:
    """The bytes of a way."""
    stream = make()
    stream.prepare()
    chunks = stream.chunks(threads=threads)
    return len(stream.header) + sum(len(one) for _, some in chunks for one in some)


@dataclass(frozen=True)
class PieceCoder:
    """Codes one tensor into a file, and compares what it decodes to with `original`, flat.

    With `on` what is coded are differences, which are added to the base's tensor.
    """

    layout: Layout
    info: TensorInfo
    scheme: Scheme
    original: Read
    threads: int
    on: AddedTo | None = None

    def add(self, ways: CodingWays) -> None:
        """Add the tensor by the way that takes least."""
        found: list[tuple[int, MakeStream]] = []
        if ways.first is not None:
            taken = self._added(ways.first, lambda nbytes: not _rivals(ways, nbytes))
            if taken is None:
                return
            found.append((taken, ways.first))
        elif len(ways.others) == 1:
            self._added(ways.others[0][1])
            return
        self._added(_smallest(ways, found, self.threads)[1])

    def _added(self, make: MakeStream, accept: Callable[[int], bool] | None = None) -> int | None:
        """Add the tensor by one way; its bytes where these are not accepted, and nothing added."""
        stream = make()
        stream.prepare()
        total = 0

        def judge(nbytes: int, parts: int) -> bool:
            nonlocal total
            total = nbytes
            wanted = nbytes >= PACKED and (accept is None or accept(nbytes))
            return wanted and not decoded.meant.is_the_base

        decoded = _Decoded(self, stream.header)
        few, base = FewBytes(), None if self.on is None else self.on.base
        coded = few.kept(decoded.watched(stream))
        if self.layout.add_pieces(
            self.info,
            str(self.scheme),
            coded,
            self._facts(decoded),
            accept=judge,
            base=base,
            on_base="" if base is None else "sum",
        ):
            return None
        if accept is not None and not accept(total):
            return total
        self._add_otherwise(stream, few, decoded)
        return None

    def _add_otherwise(self, stream: IndexStream, few: FewBytes, decoded: _Decoded) -> None:
        """Add one that is the base's, or of so few bytes that it shares a pack with others."""
        if isinstance(stream, FloatStream) and not decoded.began:
            decoded.constant(stream.values(0, 1))
        facts, base = self._facts(decoded)(), None if self.on is None else self.on.base
        if base is not None and decoded.meant.is_the_base:
            self.layout.add_base(self.info, str(self.scheme), base, rel_mse=facts.rel_mse)
            return
        self.layout.add_coded(
            self.info,
            str(self.scheme),
            few.coded(),
            facts.sum,
            meant=facts.meant,
            rel_mse=facts.rel_mse,
            base=base,
            on_base="" if base is None else "sum",
        )

    def _facts(self, decoded: _Decoded) -> Callable[[], PieceFacts]:
        def facts() -> PieceFacts:
            error = decoded.meant.error()
            if not math.isfinite(error):
                raise ArgumentError(
                    f'tensor "{self.info.name}": scheme {self.scheme} rounds a value out of '
                    f"{self.info.dtype}; leave the tensor lossless"
                )
            return PieceFacts(decoded.meant.decoded, error, decoded.meant.sum)

        return facts


class _Decoded:
    """What a tensor's chunks decode to, one piece after the other."""

    def __init__(self, coder: PieceCoder, header: bytes) -> None:
        info = coder.info
        self.meant = DecodedSums(coder.original, coder.on)
        self._info, self._header, self._threads = info, header, coder.threads
        self._dtype = storage(info.dtype, info.shape)[0]
        self._at = 0

    @property
    def began(self) -> bool:
        """Whether any values have been taken in."""
        return self._at > 0

    def watched(self, stream: IndexStream) -> Iterator[bytes]:
        """The parts, each decoded and compared with what it stands for before it goes."""
        yield stream.header
        facts = chunked(stream.header)
        for first, chunks in stream.chunks(threads=self._threads):
            size = min(self._info.nbytes - self._at, len(chunks) * facts.chunk_nbytes)
            out = np.empty(size, np.uint8)
            decode_chunks(
                self._header, self._info.nbytes, first, chunks, out, threads=self._threads
            )
            self._take(out)
            yield from chunks

    def constant(self, value: np.ndarray) -> None:
        """Take in all of an array of one value."""
        most = max(1, PIECE // value.nbytes)
        while left := (self._info.nbytes - self._at) // value.nbytes:
            self._take(np.repeat(value, min(left, most)).view(np.uint8))

    def _take(self, data: np.ndarray) -> None:
        self._at += data.size
        self.meant.take(data.view(self._dtype))


def _rivals(ways: CodingWays, nbytes: int) -> bool:
    return any(serves(nbytes, nbytes) for serves, _ in ways.others)


def _nbytes(pair: tuple[int, MakeStream]) -> int:
    return pair[0]
