"""What a mask leaves of a tensor that is not held, bit for bit or as fp16: the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xxhash

from taut.coding import CodedArray, LosslessStream, chunked
from taut.coding.packed_codes import word_effort
from taut.container import Layout
from taut.container.added import PieceFacts
from taut.container.format import PACKED, PART
from taut.encoding.decoded_sums import AddedTo, DecodedSums
from taut.encoding.few_bytes import FewBytes
from taut.encoding.in_pieces import PieceOptions
from taut.encoding.large_tensor import LargeMatrix
from taut.errors import ArgumentError
from taut.io import TensorInfo, storage
from taut.io.pairs import PairsInfo
from taut.io.tensor_pieces import LARGE, PIECE, Read
from taut.planning import quantisable
from taut.scheme import Scheme

_PART = 1 << 22  # values that are compared at a time


def masks_in_pieces(info: TensorInfo, scheme: Scheme) -> bool:
    """Whether a tensor is so large, and keeps its floats or half of their bits, masked or not."""
    if info.nbytes <= LARGE or isinstance(info, PairsInfo):
        return False
    return scheme.kind in ("lossless", "fp16") and quantisable(info.dtype, info.shape)


def add_masked_pieces(
    layout: Layout,
    matrix: LargeMatrix,
    options: PieceOptions,
    original: Read | None = None,
    on: AddedTo | None = None,
) -> bool:
    """Add a tensor of finite floats.

    With `on` they are what the tensor, which `original` gives, differs by; False where coding them
    does not pay, and nothing is added.

    Raises:
        ArgumentError: float16 does not hold a value.
    """
    kept = _Kept(matrix, DecodedSums(original or matrix.read, on))
    shape, dtype = matrix.info.shape, kept.dtype
    effort = word_effort(dtype, options.effort)
    stream = LosslessStream(kept.read, shape, dtype, effort=effort, block=PIECE)
    stream.prepare(kept.see)
    facts, info, scheme = kept.facts(), matrix.info, str(matrix.scheme)
    base = None if on is None else on.base
    if base is not None and not math.isfinite(facts.rel_mse):
        raise ArgumentError(
            f"{matrix.name}: scheme {scheme} rounds a value out of {info.dtype}; "
            "leave the tensor lossless"
        )
    if base is not None and kept.decoded.is_the_base:
        layout.add_base(info, scheme, base, rel_mse=facts.rel_mse)
        return True

    def add_whole(coded: CodedArray) -> None:
        layout.add_coded(
            info,
            scheme,
            coded,
            facts.sum,
            meant=facts.meant,
            stored=facts.stored,
            rel_mse=facts.rel_mse,
            base=base,
            on_base="" if base is None else "sum",
        )

    if chunked(stream.header).constant:
        add_whole(CodedArray(stream.header, ()))
        return True
    nbytes, total, few = matrix.count * dtype.itemsize, 0, FewBytes()

    def judge(taken: int, parts: int) -> bool:
        nonlocal total
        total = taken
        return taken >= PACKED and taken + PART * parts < nbytes

    def parts() -> Iterator[bytes]:
        yield stream.header
        yield from stream.chunks(threads=options.threads)

    if layout.add_pieces(
        info,
        scheme,
        few.kept(parts()),
        lambda: facts,
        accept=judge,
        base=base,
        on_base="" if base is None else "sum",
    ):
        return True
    if total < PACKED:
        add_whole(few.coded())
    elif base is not None:
        return False
    else:
        layout.add_kept_pieces(
            info,
            scheme,
            kept.pieces(),
            meant=facts.meant,
            stored=facts.stored,
            rel_mse=facts.rel_mse,
        )
    return True


@dataclass
class _Kept:
    """What is stored of a tensor, and sums of it as it is seen in order."""

    matrix: LargeMatrix
    decoded: DecodedSums
    _sum: xxhash.xxh3_64 = field(default_factory=xxhash.xxh3_64)

    @property
    def dtype(self) -> np.dtype:
        """That of the stored values."""
        return np.dtype(np.float16) if self.matrix.scheme.kind == "fp16" else self._own

    @property
    def _own(self) -> np.dtype:
        return storage(self.matrix.info.dtype, self.matrix.info.shape)[0]

    def read(self, begin: int, end: int) -> np.ndarray:
        """Stored values from one number to another."""
        if self.dtype == self._own:
            return self.matrix.values(begin, end)
        halves = np.empty(end - begin, self.dtype)
        for at, until in _parts(begin, end):
            with np.errstate(over="ignore"):
                halves[at - begin : until - begin] = self.matrix.values(at, until)
        if not np.isfinite(halves).all():
            raise ArgumentError(
                f"{self.matrix.name} has values above 65504, which float16 cannot hold; "
                "leave it lossless"
            )
        return halves

    def see(self, data: np.ndarray) -> None:
        """Take in the bytes of the next values."""
        stored = data.view(self.dtype)
        self._sum.update(data.data)
        for at, until in _parts(0, stored.size):
            self.decoded.take(stored[at:until].astype(self._own, copy=False))

    def facts(self) -> PieceFacts:
        """What the tensor decodes to."""
        stored = "F16" if self.dtype != self._own else ""
        error = self.decoded.error()
        return PieceFacts(self._sum.hexdigest(), error, self.decoded.sum, stored)

    def pieces(self) -> Iterator[np.ndarray]:
        """All stored values in order."""
        each = max(1, PIECE // self.dtype.itemsize)
        count = self.matrix.count
        return (self.read(at, min(count, at + each)) for at in range(0, count, each))


def _parts(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """From one number to another in steps of `_PART`: float32 beside halves is twice as large."""
    return ((at, min(end, at + _PART)) for at in range(begin, end, _PART))
