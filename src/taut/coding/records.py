"""Arrays whose bytes are records of one layout: fields coded apart (docs/coding.md, "Records")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding.coder import CodedArray
from taut.errors import ArgumentError

Function = Literal["value", "magnitude", "log", "log from middle", "log of signed"]
_FUNCTIONS: tuple[Function, ...] = (
    "value",
    "magnitude",
    "log",
    "log from middle",
    "log of signed",
)
GROUP = 255
"""As the source of a term: the number of the group in its record."""


@dataclass(frozen=True)
class BitPiece:
    """Bits of a field's symbols: `width` of them from bit `offset`, plus the loops' strides."""

    offset: int
    width: int
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class ContextTerm:
    """A number that contexts follow from: `coefficient` times a function of an earlier field."""

    source: int
    coefficient: int = 1
    function: Function = "value"


@dataclass(frozen=True)
class RecordField:
    """Like symbols of a record, coded as one stream.

    `loops` says how often they repeat, outermost first; the first `groups` of the loops run over
    groups of symbols that share a context. `pieces` gives the bits of a symbol, lowest first; its
    bits make `elements` elements of one size that are alike. `terms` add up, `shift` bits are
    dropped, and the sum falls into one of `buckets`.
    """

    pieces: tuple[BitPiece, ...]
    loops: tuple[int, ...] = ()
    groups: int = 0
    elements: int = 1
    terms: tuple[ContextTerm, ...] = ()
    shift: int = 0
    buckets: int = 1

    @property
    def width(self) -> int:
        """Bits of a symbol."""
        return sum(piece.width for piece in self.pieces)


@dataclass(frozen=True)
class RecordLayout:
    """What records of `record` bytes are made of; the fields cover each bit once.

    >>> nibbles = RecordLayout(1, (RecordField((BitPiece(0, 8),), elements=2),))
    >>> nibbles.to_bytes().hex()
    '010104020000010008000001'
    """

    record: int
    fields: tuple[RecordField, ...]

    def to_bytes(self) -> bytes:
        """The layout as a header holds it."""
        out = bytearray(_varint(self.record)) + bytes([len(self.fields)])
        for field in self.fields:
            out += bytes([field.width // field.elements, field.elements])
            out += bytes([len(field.loops), field.groups])
            out += b"".join(map(_varint, field.loops)) + bytes([len(field.pieces)])
            for piece in field.pieces:
                strides = piece.strides or (0,) * len(field.loops)
                out += _varint(piece.offset) + bytes([piece.width])
                out += b"".join(map(_varint, strides))
            out += bytes([len(field.terms)])
            for term in field.terms:
                out += bytes([term.source, _FUNCTIONS.index(term.function)])
                out += _varint(_zigzag(term.coefficient))
            out += bytes([field.shift, field.buckets])
        return bytes(out)


def encode_records(
    data: NDArray[np.uint8], layout: RecordLayout, row_bytes: int, *, threads: int = 1
) -> CodedArray:
    """Code bytes that are rows of whole records of `layout`, bit-exactly.

    It decodes to the bytes, whatever dtype they are of; it is never longer than them by more than a
    header. Chunks hold whole rows. Raises ArgumentError for a layout that leaves bits out, or rows
    of no whole records.

    >>> nibbles = RecordLayout(1, (RecordField((BitPiece(0, 8),), elements=2),))
    >>> data = np.tile(np.arange(4, dtype=np.uint8) * 17, 3000)
    >>> encode_records(data, nibbles, 300).nbytes < 6200
    True
    """
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        return CodedArray(*_core.encode_records(flat, row_bytes, _packed(layout), threads))
    except ValueError as error:
        raise ArgumentError(str(error)) from None


class RecordStream:
    """`encode_records` of bytes that are read piece by piece, twice; the same bytes.

    `read` gives the bytes from one number to another. After `prepare` there is a `header`; `chunks`
    then gives the coded chunks. It may come to more bytes than the array itself.

    >>> data = np.arange(60_000, dtype=np.uint8) % 7
    >>> layout = RecordLayout(1, (RecordField((BitPiece(0, 8),)),))
    >>> stream = RecordStream(lambda a, b: data[a:b], len(data), layout, 100, block=1000)
    >>> stream.prepare(lambda block: None)
    >>> tuple(stream.chunks()) == encode_records(data, layout, 100).chunks
    True
    """

    def __init__(
        self,
        read: Callable[[int, int], np.ndarray],
        count: int,
        layout: RecordLayout,
        row_bytes: int,
        *,
        block: int = 1 << 26,
    ) -> None:
        self._read, self._count = read, count
        try:
            self._core = _core.RecordsPasses(count, row_bytes, _packed(layout))
        except ValueError as error:
            raise ArgumentError(str(error)) from None
        each = self._core.chunk_bytes()
        self._step = each * max(1, block // each)
        self.header = b""

    def prepare(self, seen: Callable[[np.ndarray], object]) -> None:
        """Look at all bytes once; `seen` gets each piece in order."""
        for piece in self._pieces():
            seen(piece)
            self._core.count(piece)
        self.header = self._core.header()

    def chunks(self, *, threads: int = 1) -> Iterator[bytes]:
        """The coded chunks, a piece of the array after the other."""
        for piece in self._pieces():
            yield from self._core.code(piece, threads)

    def _pieces(self) -> Iterator[NDArray[np.uint8]]:
        for begin in range(0, self._count, self._step):
            piece = self._read(begin, min(self._count, begin + self._step))
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8)


def _packed(layout: RecordLayout) -> NDArray[np.uint8]:
    return np.frombuffer(layout.to_bytes(), np.uint8)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1
