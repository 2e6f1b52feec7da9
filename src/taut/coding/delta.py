"""Values as what they differ by from a base's (docs/coding.md, "Delta")."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from taut import _core
from taut.coding.coder import CodedArray, Effort, row_length, word_kind, words_alone
from taut.coding.streams import Read
from taut.errors import ArgumentError


def encode_delta(
    values: np.ndarray, base: np.ndarray, *, effort: Effort = "fast", threads: int = 1
) -> CodedArray:
    """Code an array, bit-exactly, for a decoder that has `base`, of the same dtype and shape.

    What is the base's costs nothing, whole rows and columns of it not even a symbol. The bytes
    depend on `values`, `base` and `effort` alone; `"max"` is a percent smaller and decodes slower.

    Raises:
        ArgumentError: the two differ in dtype or shape, or there are no values.

    >>> base = np.arange(4096, dtype=np.float32)
    >>> encode_delta(np.nextafter(base, 9e9), base).nbytes < 64
    True
    """
    if (values.dtype, values.shape) != (base.dtype, base.shape) or not values.size:
        raise ArgumentError(
            f"a delta of {values.dtype} {list(values.shape)} to {base.dtype} {list(base.shape)}; "
            "give arrays of one dtype and shape that are not empty"
        )
    width, mode, mantissa = word_kind(values.dtype)
    first, second = (np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (values, base))
    length = row_length(values.shape)
    header, chunks = _core.encode_delta(
        first, second, width, mode, mantissa, length, effort == "max", threads
    )
    return CodedArray(header, chunks)


class DeltaStream:
    """`encode_delta` of arrays that are read piece by piece, the base thrice; the same bytes.

    `read` gives the values and `base` the base's, `block` says of about how many bytes a piece is.
    After `measure`, `prepare` makes the `header`; `chunks` then gives the coded chunks in order.

    >>> base = np.arange(10_000, dtype=np.float32)
    >>> values = np.nextafter(base, 9e9)
    >>> stream = DeltaStream(
    ...     lambda a, b: values[a:b], lambda a, b: base[a:b], values.shape, values.dtype)
    >>> stream.measure(lambda value, base: None)
    >>> stream.prepare()
    >>> (stream.header, tuple(stream.chunks())) == (
    ...     encode_delta(values, base).header, encode_delta(values, base).chunks)
    True
    """

    def __init__(
        self,
        read: Read,
        base: Read,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        effort: Effort = "fast",
        block: int = 1 << 26,
    ) -> None:
        width, mode, mantissa = words_alone(dtype)
        self._count = int(np.prod(shape, dtype=np.int64))
        self._read, self._base, self._block = read, base, max(1, block // width)
        self._row = row_length(shape)
        self._core = _core.DeltaStream(
            self._count, width, mode, mantissa, self._row, effort == "max"
        )
        self.header = b""

    def measure(self, seen: Callable[[np.ndarray, np.ndarray], object]) -> None:
        """Look at the base, then at both; `seen` gets the bytes of each piece of both in order."""
        for begin, end in self._spans(1):
            self._core.look(_bytes(self._base(begin, end)))
        for values, base in self._pieces(self._row):
            seen(values, base)
            self._core.measure(values, base)

    def prepare(self) -> None:
        """Decide how differences are put."""
        self.header = self._core.header()

    def chunks(self, *, threads: int = 1) -> Iterator[bytes]:
        """The coded chunks, a piece of the arrays after the other."""
        for values, base in self._pieces(self._core.chunk_values()):
            yield from self._core.code(values, base, threads)

    def _pieces(self, each: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begin, end in self._spans(each):
            yield _bytes(self._read(begin, end)), _bytes(self._base(begin, end))

    def _spans(self, each: int) -> Iterator[tuple[int, int]]:
        """All values, as numbers from and to: whole multiples of `each`, about a block of them."""
        step = each * max(1, self._block // each)
        return ((at, min(self._count, at + step)) for at in range(0, self._count, step))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
