"""The decoder that docs/coding.md describes, in numpy: the test of the text and of the native one.

Clear before fast: every rule of the specification is one line here, in the order of the text.
Only the steps of the entropy decoder and the fields of a row are taken as whole vectors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_adaptive import Adaptive, decode_adaptive_chunk, read_adaptive
from taut.coding._reference_delta import Delta, decode_delta_chunk, read_delta
from taut.coding._reference_matrix import Matrix, decode_matrix_chunk, read_matrix
from taut.coding._reference_records import Records, decode_records_chunk, read_records
from taut.coding._reference_symbols import (
    CODERS,
    ESCAPE,
    FAST,
    OUTPUTS,
    Bytes,
    Coder,
    SymbolTable,
    byte_stream,
    decode_symbols,
    demand,
    read_tables,
    unpack,
)

_STORED, _SPLIT, _UNIFORM, _CONSTANT, _MATRIX, _ADAPTIVE, _RECORDS, _DELTA = range(8)
_FLOAT, _SIGNED = 1, 2
_MINUS_ZERO = 254  # where zeros are bare
_EXCEPTION = 255


@dataclass
class _Header:
    kind: int
    width: int
    count: int
    row_length: int
    chunk_rows: int
    value: bytes = b""
    coder: Coder = FAST
    mode: int = 0
    low: int = 0
    drop: int = 0
    skip_zero: bool = False
    base: int = 0
    output: np.dtype = OUTPUTS[0]
    step: float = 0.0
    offsets: tuple[float, ...] = ()
    rows: bytes = b""
    tables: tuple[SymbolTable, ...] = ()
    matrix: Matrix | None = None
    adaptive: Adaptive | None = None
    records: Records | None = None
    delta: Delta | None = None


def decode_reference(header: bytes, chunks: Sequence[bytes], base: bytes | None = None) -> bytes:
    """Bytes of the array that `header` and `chunks` code; FormatError if the text forbids them.

    `base` are those that a delta differs from, as many as it has.

    >>> decode_reference(b"LCA1" + bytes([3, 2, 3, 1, 1]) + b"ab", [])
    b'ababab'
    """
    h = _read_header(bytes(header), len(chunks))
    if h.kind == _CONSTANT:
        return h.value * h.count
    if h.delta is not None:
        return _decode_delta(h, h.delta, chunks, base)
    return b"".join(_decode_chunk(h, i, bytes(chunk)) for i, chunk in enumerate(chunks))


def _decode_delta(h: _Header, d: Delta, chunks: Sequence[bytes], base: bytes | None) -> bytes:
    demand(base is not None and len(base) == h.count * h.width, "a delta without its base")
    words = np.frombuffer(base or b"", f"<u{h.width}")
    each, parts = h.chunk_rows * h.row_length, []
    for i, chunk in enumerate(chunks):
        part = words[i * each : (i + 1) * each]
        first = i * h.chunk_rows
        parts.append(
            decode_delta_chunk(d, part, first, h.row_length, bytes(chunk), decode_reference)
        )
    return b"".join(parts)


# --- header -----------------------------------------------------------------------------------


def _read_header(data: bytes, chunk_count: int) -> _Header:
    b = Bytes(data)
    demand(b.take(4) == b"LCA1", "it does not begin with LCA1")
    h = _Header(b.u8(), b.u8(), b.varint(), b.varint(), b.varint())
    demand(h.kind <= _DELTA and h.width in (1, 2, 4, 8), "unknown kind or width")
    demand(h.count <= 1 << 56, "more than 2^56 values")
    demand(h.row_length >= 1 and h.chunk_rows >= 1, "empty rows or chunks")
    demand(h.row_length * h.chunk_rows <= 1 << 22, "a chunk of more than 2^22 values")
    rows = -(-h.count // h.row_length)
    chunks = 0 if h.kind == _CONSTANT else -(-rows // h.chunk_rows)
    demand(chunks == chunk_count, f"{chunk_count} chunks were given, the header says {chunks}")
    _read_fields(h, b, rows)
    demand(not b.data, "something follows the header")
    return h


def _read_fields(h: _Header, b: Bytes, rows: int) -> None:
    """What belongs to the kind."""
    if h.kind == _CONSTANT:
        h.value = b.take(h.width)
    elif h.kind == _DELTA:
        demand(h.count > 0, "a delta of no values")
        h.delta = read_delta(b, rows, h.row_length, h.width)
    elif h.kind in (_MATRIX, _ADAPTIVE):
        demand(h.count >= h.row_length and h.count % h.row_length == 0, "no whole rows")
        if h.kind == _MATRIX:
            h.matrix = read_matrix(b, rows, h.row_length, h.width)
            if h.matrix.coded_basis:
                h.matrix.basis = _read_basis(h.matrix.coded_basis, h.row_length)
        else:
            h.adaptive = read_adaptive(b, rows, h.row_length, h.width)
    elif h.kind == _RECORDS:
        h.records = read_records(b, h.count, h.row_length, h.width)
    elif h.kind != _STORED:
        _read_coding(h, b, rows)


def _read_basis(coded: bytes, columns: int) -> NDArray[np.float32]:
    """The numbers (columns, columns) of a basis: a matrix by itself, in one chunk."""
    b = Bytes(coded)
    header = b.take(b.varint())
    h = _read_header(header, 1)
    demand(h.matrix is not None and not h.matrix.coded_basis, "no matrix, or one with a basis")
    demand(h.row_length == columns and h.count == columns * columns, "of another size")
    assert h.matrix is not None  # for mypy
    demand(h.matrix.output == np.dtype("<f4"), "no float32")
    basis = np.frombuffer(_decode_chunk(h, 0, b.data), "<f4").reshape(columns, columns)
    demand(bool(np.isfinite(basis).all()), "a number is infinite")
    return basis


def _read_coding(h: _Header, b: Bytes, rows: int) -> None:
    coder = b.u8()
    demand(coder < len(CODERS), "unknown coder")
    h.coder = CODERS[coder]
    if h.kind == _SPLIT:
        h.mode, h.low, h.drop, flags = b.take(4)
        h.base = b.varint()
        signs = int(h.mode == _FLOAT)
        demand(h.mode <= _SIGNED and flags <= 1, "unknown mode or flags")
        demand(signs <= h.low <= 57 and h.low < 8 * h.width, "low bits out of range")
        demand(h.drop <= h.low - signs, "more bits dropped than there are")
        h.skip_zero = bool(flags)
        demand(not h.skip_zero or h.mode == _FLOAT, "bare zeros that are no floats")
    else:
        output = b.u8()
        demand(output < len(OUTPUTS), "unknown output type")
        h.output = OUTPUTS[output]
        demand(h.output.itemsize == h.width, "output type and width disagree")
        h.step, *offsets = struct.unpack("<4f", b.take(16))
        h.offsets = tuple(offsets)
        demand(math.isfinite(h.step) and h.step >= 0, "step is negative")
        demand(all(abs(offset) <= 1 for offset in offsets), "an offset of more than a step")
    tables = b.u8()
    demand(1 <= tables <= 32, "there must be 1 .. 32 tables")
    size = b.varint()
    h.rows = byte_stream(b.take(size), rows) if size else bytes(rows)
    for row in set(h.rows):
        demand(row & 127 < tables, "a row without a table")
        demand(row < 128 or h.drop > 0, "a row drops bits, the array none")
    h.tables = read_tables(b.take(len(b.data)), tables, h.coder)


# --- chunks and values ------------------------------------------------------------------------


def _decode_chunk(h: _Header, index: int, chunk: bytes) -> bytes:
    first = index * h.chunk_rows
    count = min(h.count - first * h.row_length, h.chunk_rows * h.row_length)
    if h.kind == _STORED:
        demand(len(chunk) == count * h.width, "a stored chunk has the wrong length")
        return chunk
    if h.matrix is not None:
        return decode_matrix_chunk(h.matrix, first, count // h.row_length, chunk)
    if h.adaptive is not None:
        return decode_adaptive_chunk(h.adaptive, first, count // h.row_length, chunk)
    if h.records is not None:
        return decode_records_chunk(h.records, count, chunk)
    rows = np.frombuffer(h.rows[first : first + h.chunk_rows], np.uint8)
    lengths = np.full(len(rows), h.row_length)
    lengths[-1] = count - h.row_length * (len(rows) - 1)

    b = Bytes(chunk)
    sizes = [b.varint(), b.varint(), b.varint(), h.coder.lanes * h.coder.state.itemsize]
    raw = b.take(len(b.data) - sum(sizes))
    units, tail, exceptions, states = (b.take(size) for size in sizes)

    symbols = _symbols(h, np.bitwise_and(rows, np.uint8(127)), lengths, units, tail, states)
    if h.kind == _UNIFORM:
        demand(not raw, "bytes are left over")
        return _from_levels(h, symbols, exceptions)
    return _from_split(h, symbols, exceptions, raw, lengths, rows > 127)


def _symbols(
    h: _Header,
    table_of: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    units: bytes,
    tail: bytes,
    states: bytes,
) -> NDArray[np.int64]:
    """A chunk's symbols in the order of its values; `table_of` and `lengths` say it of its rows."""
    segments = [(t, int(lengths[table_of == i].sum())) for i, t in enumerate(h.tables)]
    coded = decode_symbols(h.coder, h.coder.step, segments, units, states)
    escapes = int((coded == ESCAPE).sum())
    demand((escapes > 0) == (len(tail) > 0), "escapes and tail disagree")
    if escapes:
        coded[coded == ESCAPE] = np.frombuffer(byte_stream(tail, escapes), np.uint8)
    symbols = np.empty_like(coded)
    symbols[np.argsort(np.repeat(table_of, lengths), kind="stable")] = coded
    return symbols


def _with_exceptions(
    values: NDArray[np.int64], symbols: NDArray[np.int64], entries: bytes, dtype: str
) -> NDArray[np.int64]:
    """`values`, but the next of `entries` wherever the symbol is the exception."""
    special = symbols == _EXCEPTION
    size = np.dtype(dtype).itemsize * int(special.sum())
    demand(len(entries) == size, "exceptions are missing or left over")
    values[special] = np.frombuffer(entries, dtype).astype(values.dtype)
    return values


def _from_levels(h: _Header, symbols: NDArray[np.int64], entries: bytes) -> bytes:
    q = _with_exceptions(symbols - 128, symbols, entries, "<i4")
    step, offsets = np.float32(h.step), np.array((0.0, *h.offsets), np.float32)
    with np.errstate(all="ignore"):
        shift = -np.sign(q).astype(np.float32) * (offsets[np.minimum(abs(q), 3)] * step)
        value = q.astype(np.float32) * step + np.where(q == 0, np.float32(0), shift)
        return value.astype(h.output).tobytes()


def _from_split(
    h: _Header,
    symbols: NDArray[np.int64],
    entries: bytes,
    raw: bytes,
    lengths: NDArray[np.int64],
    marked: NDArray[np.bool_],
) -> bytes:
    u64 = np.uint64
    regular = np.where(symbols > 0, (symbols - 1).astype(u64) + u64(h.base), u64(0))
    high = _with_exceptions(regular.view(np.int64), symbols, entries, f"<u{h.width}").view(u64)
    present = ~(((symbols == 0) | (symbols == _MINUS_ZERO)) & h.skip_zero)
    field = np.zeros(len(symbols), u64)
    ends, b = np.cumsum(lengths), Bytes(raw)
    for end, length, drops in zip(ends.tolist(), lengths.tolist(), marked.tolist(), strict=True):
        here = np.flatnonzero(present[end - length : end]) + end - length
        drop = h.drop if drops else 0
        bits = h.low - drop
        stream = unpack(b.take((len(here) * bits + 7) // 8))[: len(here) * bits]
        powers = np.arange(drop, h.low, dtype=u64)
        field[here] = (stream.reshape(len(here), bits).astype(u64) << powers).sum(1, dtype=u64)
    demand(not b.data, "bytes are left over")
    zeros = np.where(symbols == 0, u64(0), u64(1) << u64(8 * h.width - 1))
    words = np.where(present, _join(h, high, field), zeros)
    return words.astype(f"<u{h.width}").tobytes()


def _join(h: _Header, high: NDArray[np.uint64], field: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Words from their upper parts and fields; the caller cuts off what lies above the width."""
    plain = np.uint64(h.low - 1 if h.mode == _FLOAT else h.low)
    top = np.uint64(8 * h.width - 1)
    words: NDArray[np.uint64] = high << plain
    if h.mode == _FLOAT:
        words |= field & ((np.uint64(1) << plain) - np.uint64(1))
        words |= field >> plain << top
    else:
        words |= field
    if h.mode == _SIGNED:
        words ^= np.uint64(1) << top
    return words
