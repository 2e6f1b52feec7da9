"""Matrices as docs/coding.md describes them, in numpy: scales, classes, tables, the trellis.

The third part of the reference decoder: `_reference.py` reads what all arrays have.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_symbols import (
    CODERS,
    ESCAPE,
    OUTPUTS,
    Bits,
    Bytes,
    Coder,
    SymbolTable,
    byte_stream,
    demand,
    lay_out,
)

_TRELLIS, _BYTE_OFFSETS, _FLOAT_OFFSETS, _ROWS, _COLUMNS, _ROW_CLASSES, _COLUMN_CLASSES, _BASIS = (
    1 << i for i in range(8)
)
_MOST_BASIS = 2048
_EXCEPTION = 255
_NEXT = np.array([[0, 2], [7, 5], [1, 3], [6, 4], [2, 0], [5, 7], [3, 1], [4, 6]])
_SIXTEENTHS = (2.0 ** (np.arange(16) / 16)).astype(np.float32)


@dataclass
class Matrix:
    """What a matrix's header says beyond its shape."""

    coder: Coder
    output: np.dtype
    trellis: bool
    offsets: NDArray[np.float32]  # of magnitudes 0, 1, 2, and 3 and beyond
    row_scale: NDArray[np.float32]
    column_scale: NDArray[np.float32]
    row_class: NDArray[np.int64]
    context: NDArray[np.int64]  # by row class and column
    tables: list[tuple[SymbolTable, ...]]  # by context, then by quantiser
    coded_basis: bytes  # empty: rows are values themselves
    basis: NDArray[np.float32] | None = None


# --- header -----------------------------------------------------------------------------------


def read_matrix(b: Bytes, rows: int, columns: int, width: int) -> Matrix:
    """The rest of the header of a matrix whose values have `width` bytes."""
    coder, output, flags, fractions = b.take(4)
    demand(coder < len(CODERS) and output < len(OUTPUTS), "unknown coder or output type")
    demand(OUTPUTS[output].itemsize == width, "output type and width disagree")
    demand(flags & 6 != 6, "two kinds of offsets")
    demand(fractions & 15 <= 4 and fractions >> 4 <= 4, "unknown fraction")
    step = np.float32(struct.unpack("<f", b.take(4))[0])
    demand(math.isfinite(step) and float(step) >= 0, "step is negative")
    offsets = _read_offsets(b, flags)
    row_scale = _scales(_stream(b, rows) if flags & _ROWS else None, rows, fractions & 15)
    column_bytes = _stream(b, columns) if flags & _COLUMNS else None
    column_scale = _scales(column_bytes, columns, fractions >> 4)
    with np.errstate(over="ignore"):
        row_scale = step * row_scale
    demand(bool(np.isfinite(row_scale).all()), "a row's scale is infinite")
    row_class = _classes(_stream(b, rows) if flags & _ROW_CLASSES else None, rows)
    column_class = _classes(_stream(b, columns) if flags & _COLUMN_CLASSES else None, columns)
    shape = int(row_class.max()) + 1, int(column_class.max()) + 1
    context = np.zeros(shape, np.int64)
    if flags & (_ROW_CLASSES | _COLUMN_CLASSES):
        context += np.frombuffer(_stream(b, shape[0] * shape[1]), np.uint8).reshape(shape)
    demand(int(context.max()) < 32, "more than 32 contexts")
    trellis = bool(flags & _TRELLIS)
    basis = _coded_basis(b, columns) if flags & _BASIS else b""
    tables = _read_tables(b.take(len(b.data)), int(context.max()) + 1, 1 + trellis, CODERS[coder])
    return Matrix(
        CODERS[coder], OUTPUTS[output], trellis, offsets, row_scale, column_scale,
        row_class, context[:, column_class], tables, basis,
    )  # fmt: skip


def _coded_basis(b: Bytes, columns: int) -> bytes:
    demand(columns <= _MOST_BASIS, "a basis of too many columns")
    basis = b.take(b.varint())
    demand(len(basis) > 0, "an empty basis")
    return basis


def _read_offsets(b: Bytes, flags: int) -> NDArray[np.float32]:
    offsets = [0.0, 0.0, 0.0]
    if flags & _BYTE_OFFSETS:
        offsets = [byte / 128 for byte in struct.unpack("<3b", b.take(3))]
    if flags & _FLOAT_OFFSETS:
        offsets = list(struct.unpack("<3f", b.take(12)))
    demand(all(abs(offset) <= 1 for offset in offsets), "an offset of more than a step")
    return np.array([0.0, *offsets], np.float32)


def _scales(exponents: bytes | None, count: int, fraction: int) -> NDArray[np.float32]:
    if exponents is None:
        return np.ones(count, np.float32)
    e = (np.frombuffer(exponents, np.uint8).astype(np.int32) - 128) * (16 >> fraction)
    scales: NDArray[np.float32] = np.ldexp(_SIXTEENTHS[e & 15], e >> 4)
    return scales


def _classes(classes: bytes | None, count: int) -> NDArray[np.int64]:
    if classes is None:
        return np.zeros(count, np.int64)
    demand(max(classes) < 64, "more than 64 classes")
    return np.frombuffer(classes, np.uint8).astype(np.int64)


def _stream(b: Bytes, count: int) -> bytes:
    """The `count` bytes of the next stream, which may be Rice codes here."""
    data = b.take(b.varint())
    if data[:1] != b"\4":
        return byte_stream(data, count)
    bits = Bits(data[1:])
    middle, k = bits.take(8), bits.take(3)
    values = [middle + _signed(bits.rice(k, 32)) for _ in range(count)]
    bits.finish()
    demand(all(0 <= value <= 255 for value in values), "a byte out of range")
    return bytes(values)


def _signed(z: int) -> int:
    return z // 2 if z % 2 == 0 else -(z + 1) // 2


# --- tables -----------------------------------------------------------------------------------


def _read_tables(
    data: bytes, contexts: int, quantisers: int, coder: Coder
) -> list[tuple[SymbolTable, ...]]:
    """Tables by context and quantiser; all have the buckets of the largest."""
    bits = Bits(data)
    read = [_read_context(bits, quantisers, coder) for _ in range(contexts)]
    bits.finish()
    longest = max(len(frequencies[0]) for _, frequencies in read)
    N = 1 << max(coder.buckets[0], (longest - 1).bit_length())
    return [
        tuple(lay_out(f + [0] * (N - len(f)), first, coder) for f in frequencies)
        for first, frequencies in read
    ]


def _read_context(bits: Bits, quantisers: int, coder: Coder) -> tuple[int, list[list[int]]]:
    """First byte of a context's tables, and the frequencies of each from the escape on."""
    widest = (1 << coder.buckets[1]) - 1
    if bits.take(1):
        most, unit = bits.take(6), bits.take(2)
        demand(most >= 1 and 2 * most + 1 <= widest, "a table of no or too many symbols")
        return 128 - most, [_from_slopes(bits, most, unit, coder) for _ in range(quantisers)]
    first, count = bits.take(8), bits.take(8)
    demand(1 <= count <= widest and first + count <= 256, "a table of no or too many symbols")
    return first, [_from_differences(bits, count, coder) for _ in range(quantisers)]


def _from_differences(bits: Bits, count: int, coder: Coder) -> list[int]:
    k, f = bits.take(4), [0] * (count + 1)
    demand(k <= 12, "a Rice parameter of more than 12")
    for s in range(count + 1):
        f[s] = (f[s - 1] if s > 1 else 0) + _signed(bits.rice(k, 32))
        demand(0 <= f[s] < 1 << coder.P, "a frequency is out of range")
    demand(sum(f) == 1 << coder.P, "frequencies do not sum to 2^P")
    return f


def _from_slopes(bits: Bits, most: int, unit: int, coder: Coder) -> list[int]:
    escape = [_weight(4 * bits.take(6))] if bits.take(1) else []
    k, slope, fall, side = bits.take(2), 0, 0, []
    for _ in range(most):
        slope += _signed(bits.rice(k, 32))
        fall += slope
        sixteenths = fall * (8 >> unit)
        demand(-128 <= sixteenths <= 1024, "a slope too steep")
        side.append(_weight(sixteenths))
    total = _weight(0) + sum(escape) + 2 * sum(side)
    whole = 1 << coder.P
    share = [max(1, (2 * w * whole + total) // (2 * total)) for w in escape + side]
    side = share[len(escape) :]
    middle = whole - sum(share) - sum(side)
    demand(0 < middle < whole, "no slots are left for the middle")
    return [*(share[:1] if escape else [0]), *side[::-1], middle, *side]


def _weight(fall: int) -> int:
    """2^(23 - fall / 16), rounded down."""
    octaves, sixteenths = divmod(-fall, 16)
    mantissa = int(_SIXTEENTHS[sixteenths] * np.float32(1 << 23))
    return mantissa << octaves if octaves >= 0 else mantissa >> -octaves


# --- chunks -----------------------------------------------------------------------------------


def decode_matrix_chunk(m: Matrix, first: int, rows: int, chunk: bytes) -> bytes:
    """Values of `rows` rows from row `first` on, in order."""
    with np.errstate(all="ignore"):
        numbers = _decode_numbers(m, first, rows, chunk)
        values = numbers if m.basis is None else _combined(numbers, m.basis)
        return values.astype(m.output).tobytes()


def _decode_numbers(m: Matrix, first: int, rows: int, chunk: bytes) -> NDArray[np.float32]:
    b = Bytes(chunk)
    sizes = [b.varint(), b.varint(), b.varint()]
    escapes = b.varint() if sizes[1] else 0
    units, tail, exceptions = (b.take(size) for size in sizes)
    states = b.take(m.coder.lanes * m.coder.state.itemsize)
    columns = len(m.column_scale)
    demand(not b.data and escapes <= rows * columns, "parts do not fit the chunk")
    demand(not tail or escapes > 0, "a tail without escapes")
    demand(len(units) % m.coder.unit.itemsize == 0, "half a unit is left over")
    demand(len(exceptions) % 4 == 0, "part of an exception is left over")
    lanes = _Lanes(
        m, np.frombuffer(units, m.coder.unit).astype(np.int64),
        np.frombuffer(states, m.coder.state).astype(np.int64),
        list(byte_stream(tail, escapes)) if tail else [],
        np.frombuffer(exceptions, "<i4").astype(np.int64).tolist(),
    )  # fmt: skip
    demand(bool((lanes.x >= m.coder.low_end).all()), "a first state is out of range")
    values = np.empty((rows, columns), np.float32)
    row_class = m.row_class[first : first + rows]
    for which in range(int(m.row_class.max()) + 1):
        members = np.flatnonzero(row_class == which)
        for begin in range(0, len(members), m.coder.lanes):
            group = members[begin : begin + m.coder.lanes]
            q, level = lanes.decode(m.context[which], len(group))
            values[group] = _reconstruct(m, q, level, m.row_scale[first + group])
    demand(lanes.unit.size == 0 and not lanes.tail and not lanes.exceptions, "something is left")
    demand(bool((lanes.x == m.coder.low_end).all()), "a last state is not where it began")
    return values


def _combined(coefficients: NDArray[np.float32], basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of the basis' rows, each times its coefficient, from the first to the last."""
    values = np.zeros(coefficients.shape, np.float32)
    for k, row in enumerate(basis):
        used = np.flatnonzero(coefficients[:, k])
        values[used] += coefficients[used, k, None] * row
    demand(bool(np.isfinite(values).all()), "a value is infinite")
    return values


@dataclass
class _Lanes:
    m: Matrix
    unit: NDArray[np.int64]  # what is left of each
    x: NDArray[np.int64]
    tail: list[int]
    exceptions: list[int]

    def decode(
        self, contexts: NDArray[np.int64], n: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices and levels of the next `n` rows, one in each lane."""
        q = np.empty((n, len(contexts)), np.int64)
        level, state = np.empty_like(q), np.zeros(n, np.int64)
        for column, context in enumerate(contexts.tolist()):
            quantiser = state & 1 if self.m.trellis else np.zeros(n, np.int64)
            symbol = self._step(self.m.tables[context], quantiser)
            q[:, column] = symbol - 128
            for row in np.flatnonzero(symbol == _EXCEPTION):
                demand(len(self.exceptions) > 0, "exceptions are missing")
                q[row, column] = self.exceptions.pop(0)
            level[:, column] = q[:, column] * (1 + self.m.trellis)
            level[:, column] -= quantiser * np.sign(q[:, column])
            state = _NEXT[state, symbol & 1]
        return q, level

    def _step(
        self, tables: tuple[SymbolTable, ...], quantiser: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """One symbol of each lane in use, escapes settled."""
        coder, x = self.m.coder, self.x[: len(quantiser)]
        slot, which = x & ((1 << coder.P) - 1), np.arange(len(x))
        symbol = np.stack([t.symbol[slot] for t in tables])[quantiser, which]
        frequency = np.stack([t.frequency[slot] for t in tables])[quantiser, which]
        rank = np.stack([t.rank[slot] for t in tables])[quantiser, which]
        x[:] = frequency * (x >> coder.P) + rank
        short = np.flatnonzero(x < coder.low_end)
        demand(len(short) <= len(self.unit), "the units are cut short")
        x[short] = x[short] * coder.low_end + self.unit[: len(short)]
        self.unit = self.unit[len(short) :]
        escaped = np.flatnonzero(symbol == ESCAPE)
        demand(len(escaped) <= len(self.tail), "escapes are missing")
        symbol[escaped] = self.tail[: len(escaped)]
        del self.tail[: len(escaped)]
        return symbol


def _reconstruct(
    m: Matrix, q: NDArray[np.int64], level: NDArray[np.int64], row_scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    offset = np.sign(q).astype(np.float32) * m.offsets[np.minimum(abs(q), 3)]
    amount = level.astype(np.float32) - offset
    values: NDArray[np.float32] = amount * row_scale[:, None] * m.column_scale
    return values
