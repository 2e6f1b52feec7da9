"""One array coded, or decoded, in pieces: what does not fit into memory goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from taut import _core
from taut.coding.coder import Buffer, Effort, row_length, word_kind, words_alone
from taut.errors import FormatError

_SAMPLE = 64  # values of a block of the sample
_OF_INTEGERS = ("uniform", "matrix", "adaptive")

Read = Callable[[int, int], np.ndarray]
"""Gives the values of an array from one number to another, flat, in its dtype."""


class LosslessStream:
    """`encode_lossless` of an array that is read piece by piece, four times; the same bytes.

    `read` gives its values, `block` says of about how many bytes a piece is. After `prepare` there
    is a `header`; `chunks` then gives the coded chunks in order. It may come to more bytes than the
    array itself, which `encode_lossless` would then store.

    >>> values = np.arange(10_000, dtype=np.float32)
    >>> stream = LosslessStream(lambda a, b: values[a:b], values.shape, values.dtype)
    >>> stream.prepare(lambda block: None)
    >>> from taut.coding import encode_lossless
    >>> tuple(stream.chunks()) == encode_lossless(values).chunks
    True
    """

    def __init__(
        self,
        read: Read,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        effort: Effort = "fast",
        block: int = 1 << 26,
    ) -> None:
        width, mode, mantissa = words_alone(dtype)
        self._count = int(np.prod(shape, dtype=np.int64))
        self._read = read
        self._core = _core.Stream(
            self._count, width, mode, mantissa, row_length(shape), effort == "max"
        )
        each = self._core.chunk_values()
        self._step = each * max(1, block // (each * width))
        self.header = b""

    def prepare(self, seen: Callable[[np.ndarray], object]) -> None:
        """Look at all values twice; `seen` gets the bytes of each piece in order, once."""
        places = self._core.sample_places()
        size = min(_SAMPLE, self._count)
        sample = np.concatenate([self._read(at, at + size) for at in places])
        self._core.choose(sample.view(np.uint8))
        for values in self._pieces():
            seen(values)
            self._core.scan(values)
        for values in self._pieces():
            self._core.tally(values)
        self.header = self._core.header()

    def chunks(self, *, threads: int = 1) -> Iterator[bytes]:
        """The coded chunks, a piece of the array after the other."""
        for values in self._pieces():
            yield from self._core.code(values, threads)

    def _pieces(self) -> Iterator[np.ndarray]:
        for begin in range(0, self._count, self._step):
            values = self._read(begin, min(self._count, begin + self._step))
            yield np.ascontiguousarray(values).view(np.uint8)


def streams(dtype: np.dtype) -> bool:
    """Whether arrays of a dtype can be coded in pieces: complex ones, and such, cannot."""
    return word_kind(dtype)[0] == dtype.itemsize


@dataclass(frozen=True)
class Chunked:
    """How the values of a coded array lie in its chunks; `nbytes` is what all of it decodes to.

    A decoder holds a byte or so for each of its `rows`. `width` is the bytes of a value, `integers`
    whether values are made of whole numbers on a grid.
    """

    rows: int
    chunks: int
    chunk_nbytes: int
    nbytes: int
    constant: bool
    width: int
    integers: bool


def chunked(header: Buffer) -> Chunked:
    """What the header of a coded array says; FormatError if it is none."""
    try:
        found = _core.inspect(np.frombuffer(header, np.uint8))
    except _core.CoreFormatError as error:
        raise FormatError(str(error)) from None
    return Chunked(
        -(-int(found["count"]) // max(1, int(found["row_length"]))),
        int(found["chunks"]),
        int(found["chunk_values"]) * int(found["width"]),
        int(found["nbytes"]),
        found["kind"] == "constant",
        int(found["width"]),
        found["kind"] in _OF_INTEGERS,
    )


def decode_chunks(
    header: Buffer,
    nbytes: int,
    first: int,
    chunks: Sequence[Buffer],
    out: np.ndarray,
    *,
    threads: int = 1,
    base: np.ndarray | None = None,
) -> None:
    """Decode some chunks of an array of `nbytes` bytes, from `first` on, into their own bytes.

    `base` is, of a delta, the base's bytes in the place of those.

    Raises FormatError for what an encoder would not have written.
    """
    try:
        _core.decode_chunks(header, nbytes, first, chunks, out, threads, base)
    except _core.CoreFormatError as error:
        raise FormatError(str(error)) from None
