"""Arrays of records as docs/coding.md describes them: layouts, contexts and chunks.

The seventh part of the reference decoder. Records are taken as the rows of one array of bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_symbols import (
    CODERS,
    DENSE,
    Bits,
    Bytes,
    Coder,
    SymbolTable,
    demand,
    lay_out,
    unpack,
)

_GROUP = 255


@dataclass
class ReadField:
    """Like symbols, how they are coded; `places` has shape (groups, symbols each, pieces)."""

    bits: int
    elements: int
    widths: list[int]
    places: NDArray[np.int64]
    terms: list[tuple[int, int, int]]  # source, function, coefficient
    shift: int
    buckets: int
    base: int = 0
    map: bytes = b""
    tables: tuple[SymbolTable, ...] = ()


@dataclass
class Records:
    """A layout, and how its fields are coded."""

    coder: Coder
    record: int
    fields: list[ReadField]


# --- header -----------------------------------------------------------------------------------


def read_records(b: Bytes, count: int, row_length: int, width: int) -> Records:
    """What the header of an array of records says behind its geometry."""
    demand(width == 1, "records are bytes")
    coder = b.u8()
    demand(coder in (1, 2), "unknown coder")
    layout = Bytes(b.take(b.varint()))
    records = Records(CODERS[coder], layout.varint(), [])
    demand(1 <= records.record <= 4096, "a record of no or too many bytes")
    number = layout.u8()
    demand(1 <= number <= 32, "no or too many fields")
    for _ in range(number):
        records.fields.append(_read_field(layout, records.fields))
    demand(not layout.data, "something follows the layout")
    _check_cover(records)
    demand(count % records.record == row_length % records.record == 0, "no whole records")
    contexts = [_read_contexts(b, field) for field in records.fields]
    bits = Bits(b.take(len(b.data)))
    for field, tables in zip(records.fields, contexts, strict=True):
        field.tables = tuple(_read_table(bits, field) for _ in range(tables))
    bits.finish()
    return records


def _read_field(b: Bytes, before: list[ReadField]) -> ReadField:
    bits, elements, loops, outer = b.take(4)
    demand(bits >= 1 and 1 <= elements <= 4 and bits * elements <= 8, "a symbol's bits are off")
    demand(outer <= loops <= 6, "too many loops")
    counts = [b.varint() for _ in range(loops)]
    demand(min(counts, default=1) >= 1, "a loop of no round")
    demand(math.prod(counts) <= 4096 * 8, "too many symbols")
    widths, places = _read_pieces(b, counts)
    demand(sum(widths) == bits * elements, "pieces do not make a symbol")
    groups = math.prod(counts[:outer])
    terms = [_read_term(b, before, groups) for _ in range(b.u8())]
    shift, buckets = b.take(2)
    demand(len(terms) <= 8 and shift <= 30 and 1 <= buckets <= 64, "terms or buckets are off")
    demand(bool(terms) or buckets == 1, "buckets without terms")
    places = places.reshape(groups, -1, len(widths))
    return ReadField(bits, elements, widths, places, terms, shift, buckets)


def _read_pieces(b: Bytes, counts: list[int]) -> tuple[list[int], NDArray[np.int64]]:
    """Width of each piece, and its bit in each round of the loops, of shape (*counts, pieces)."""
    pieces = b.u8()
    demand(1 <= pieces <= 8, "no or too many pieces")
    widths, places = [], np.zeros((*counts, pieces), np.int64)
    for p in range(pieces):
        places[..., p] += b.varint()
        widths.append(b.u8())
        for loop, count in enumerate(counts):
            shape = [-1 if k == loop else 1 for k in range(len(counts))]
            places[..., p] += (np.arange(count) * b.varint()).reshape(shape)
    return widths, places


def _read_term(b: Bytes, before: list[ReadField], groups: int) -> tuple[int, int, int]:
    """Source, function and coefficient of one term of a field of so many groups."""
    source, function, coefficient = b.u8(), b.u8(), _signed(b.varint())
    demand(function <= 4 and abs(coefficient) <= 1 << 16, "a term is off")
    if source == _GROUP:
        demand(groups <= 256, "more groups than a term can tell")
    else:
        demand(source < len(before), "a term of a field that is not before it")
        fits = before[source].places[..., 0].size in (1, groups)
        demand(fits and before[source].elements == 1, "a term that does not fit the groups")
    return source, function, coefficient


def _check_cover(records: Records) -> None:
    covered = np.zeros(8 * records.record, np.int64)
    for field in records.fields:
        for p, width in enumerate(field.widths):
            at = field.places[..., p].reshape(-1)
            demand(bool((at % 8 + width <= 8).all()), "a piece lies across bytes")
            demand(bool((at < 8 * records.record).all()), "a piece lies outside of a record")
            np.add.at(covered, at[:, None] + np.arange(width), 1)
    demand(bool((covered == 1).all()), "bits of no field, or of two")


def _read_contexts(b: Bytes, field: ReadField) -> int:
    coded = b.u8()
    demand(coded <= 1, "a field coded in an unknown way")
    if not coded:
        return 0
    contexts = b.u8()
    demand(1 <= contexts <= 32, "no or too many contexts")
    demand(contexts == 1 or field.buckets > 1, "contexts without buckets")
    field.map = bytes(field.buckets)
    if contexts > 1:
        field.base, field.map = _signed(b.varint()), b.take(field.buckets)
        demand(max(field.map) < contexts, "a context without a table")
    return contexts


def _read_table(bits: Bits, field: ReadField) -> SymbolTable:
    first, last, k = bits.take(8), bits.take(8), bits.take(4)
    demand(first <= last < 1 << field.bits and k <= 12, "a table's first fields are off")
    elements, value = [0] * 256, 0
    for s in range(first, last + 1):
        z = bits.rice(k)
        value += z // 2 if z % 2 == 0 else -(z + 1) // 2
        demand(0 <= value < 1 << DENSE.P, "a frequency is out of range")
        elements[s] = value
    demand(sum(elements) == 1 << DENSE.P, "frequencies do not sum to 2^P")
    frequencies = symbol_frequencies(elements, field.bits, field.elements)
    size = max(32, len(frequencies))
    return lay_out(frequencies + [0] * (size - len(frequencies)), 1, DENSE)


def symbol_frequencies(elements: list[int], bits: int, count: int) -> list[int]:
    """Frequencies of symbols of `count` elements: products, rounded so that they sum to 2^12.

    >>> symbol_frequencies([4095, 1], 1, 2)
    [4093, 1, 1, 1]
    """
    more, mask = (count - 1) * DENSE.P, (1 << bits) - 1
    weights = [
        math.prod(elements[s >> (k * bits) & mask] for k in range(count))
        for s in range(1 << (bits * count))
    ]
    half = 1 << (more - 1) if more else 0
    rounded = [max(1, (w + half) >> more) if w else 0 for w in weights]
    over = sum(rounded) - (1 << DENSE.P)
    largest = weights.index(max(weights))
    rounded[largest] -= min(0, over)
    for floor in (16, 1):
        over = _take_back(rounded, over, floor)
    demand(rounded[largest] < 1 << DENSE.P, "a table of a single symbol")
    return rounded


def _take_back(rounded: list[int], over: int, floor: int) -> int:
    """Take 1 off each frequency above `floor`, round after round; gives what of `over` is left."""
    while over > 0 and max(rounded) > floor:
        for s in range(len(rounded)):
            if over > 0 and rounded[s] > floor:
                rounded[s] -= 1
                over -= 1
    return over


# --- chunks -----------------------------------------------------------------------------------


def decode_records_chunk(h: Records, nbytes: int, chunk: bytes) -> bytes:
    """The bytes of a chunk of whole records."""
    b = Bytes(chunk)
    sizes = b.varint(), h.coder.lanes * h.coder.state.itemsize
    raw = Bytes(b.take(len(b.data) - sum(sizes)))
    units = _Units(h.coder, b.take(sizes[0]), b.data)
    out = np.zeros((nbytes // h.record, h.record), np.uint8)
    kept: list[NDArray[np.int64]] = []
    for field in h.fields:
        shape = (len(out), *field.places.shape[:2])
        symbols = _coded(h, field, shape, kept, units) if field.tables else _raw(raw, field, shape)
        kept.append(symbols.reshape(len(out), -1))
        down = 0
        for p, width in enumerate(field.widths):
            part = symbols >> down & ((1 << width) - 1)
            at = field.places[..., p]
            for place, bits in zip(at.reshape(-1), part.reshape(len(out), -1).T, strict=True):
                out[:, place // 8] |= (bits << place % 8).astype(np.uint8)
            down += width
    demand(not raw.data, "bytes are left over")
    units.finish()
    return out.tobytes()


def _raw(raw: Bytes, field: ReadField, shape: tuple[int, ...]) -> NDArray[np.int64]:
    width, count = sum(field.widths), int(np.prod(shape))
    bits = unpack(raw.take((count * width + 7) // 8))[: count * width].reshape(count, width)
    symbols: NDArray[np.int64] = (bits.astype(np.int64) << np.arange(width)).sum(1)
    return symbols.reshape(shape)


def _coded(
    h: Records,
    field: ReadField,
    shape: tuple[int, ...],
    kept: list[NDArray[np.int64]],
    units: _Units,
) -> NDArray[np.int64]:
    context = np.zeros(shape[:2], np.int64)
    if len(field.tables) > 1:
        total = np.zeros(shape[:2], np.int64)
        for source, function, coefficient in field.terms:
            if source == _GROUP:
                values, bits = np.arange(shape[1])[None], 8
            else:
                values, bits = kept[source], h.fields[source].bits
            total += coefficient * _function(function, bits, values)
        bucket = np.clip((total >> field.shift) - field.base, 0, field.buckets - 1)
        context = np.frombuffer(field.map, np.uint8)[bucket].astype(np.int64)
    symbols = np.empty(shape, np.int64)
    for number, table in enumerate(field.tables):
        here = context == number
        symbols[here] = units.take(table, int(here.sum()) * shape[2]).reshape(-1, shape[2])
    return symbols


def _function(function: int, bits: int, v: NDArray[np.int64]) -> NDArray[np.int64]:
    top = 1 << (bits - 1)
    if function < 2:
        return v & (top - 1) if function else v
    return _log((v, abs(v - top), np.where(v < top, v, 2 * top - v))[function - 2])


def _log(v: NDArray[np.int64]) -> NDArray[np.int64]:
    """1024 log2(v) for v = 2^n, straight lines between; -1024 for 0."""
    n = np.frexp(np.maximum(v, 1))[1].astype(np.int64) - 1
    return np.where(v > 0, 1024 * n + (v << 10 >> n) - 1024, -1024)


class _Units:
    """The symbol decoder, of which a segment is taken at a time."""

    def __init__(self, coder: Coder, units: bytes, states: bytes) -> None:
        demand(len(units) % coder.unit.itemsize == 0, "half a unit is left over")
        self.coder, self.at = coder, 0
        self.unit = np.frombuffer(units, coder.unit).astype(np.int64)
        self.x = np.frombuffer(states, coder.state).astype(np.int64)
        demand(bool((self.x >= coder.low_end).all()), "a first state is out of range")

    def take(self, table: SymbolTable, count: int) -> NDArray[np.int64]:
        symbols = [np.empty(0, np.int64)]
        for begin in range(0, count, self.coder.step):
            lanes = self.x[: min(self.coder.step, count - begin)]
            slot = lanes & ((1 << self.coder.P) - 1)
            symbols.append(np.maximum(table.symbol[slot], 0))  # local symbol 0 is the byte 0 here
            lanes[:] = table.frequency[slot] * (lanes >> self.coder.P) + table.rank[slot]
            short = np.flatnonzero(lanes < self.coder.low_end)
            demand(self.at + len(short) <= len(self.unit), "the units are cut short")
            lanes[short] = lanes[short] * self.coder.low_end
            lanes[short] += self.unit[self.at : self.at + len(short)]
            self.at += len(short)
        return np.concatenate(symbols)

    def finish(self) -> None:
        demand(self.at == len(self.unit), "units are left over")
        demand(bool((self.x == self.coder.low_end).all()), "a last state is off")


def _signed(z: int) -> int:
    return z >> 1 ^ -(z & 1)
