"""Fixtures of the coder's tests: decoding everywhere at once, and coding by hand.

`craft` writes any array that docs/coding.md allows, so that tests reach what no encoder writes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from taut import _core
from taut.coding import Job, decode, decoded_nbytes
from taut.coding._reference import decode_reference
from taut.coding._reference_symbols import CODERS, ESCAPE, Coder, SymbolTable, lay_out
from taut.errors import FormatError

Outcome = bytes | None  # what an array decodes to; None: it is refused


def _native(header: bytes, chunks: Sequence[bytes], kernels: str, nbytes: int) -> Outcome:
    """What one native decoder says; guards around the buffer show that it wrote nowhere else."""
    guard = 64
    whole = np.full(nbytes + 2 * guard, 0xA5, np.uint8)
    try:
        decode([Job(header, chunks, whole[guard : guard + nbytes])], kernels=kernels)
    except FormatError:
        return None
    finally:
        assert (whole[:guard] == 0xA5).all() and (whole[guard + nbytes :] == 0xA5).all()
    return whole[guard : guard + nbytes].tobytes()


def _decode_everywhere(header: bytes, chunks: Sequence[bytes]) -> Outcome:
    """What every native decoder and the reference agree on: the bytes, or None for a refusal."""
    try:
        expected: Outcome = decode_reference(header, chunks)
    except FormatError:
        expected = None
    try:
        nbytes = decoded_nbytes(header)
    except FormatError:
        assert expected is None
        return None
    if expected is None:
        nbytes = min(nbytes, 1 << 24)
    for kernels in _core.kernels():
        assert _native(header, chunks, kernels, nbytes) == expected, kernels
    return expected


@pytest.fixture(scope="session")
def decode_everywhere() -> Callable[[bytes, Sequence[bytes]], Outcome]:
    return _decode_everywhere


# --- by hand --------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


@dataclass(frozen=True)
class HandTable:
    """A table by its fields; `frequencies` are those of the escape and of the bytes `first` on."""

    first: int
    frequencies: tuple[int, ...]
    k: int = 12

    def bits(self) -> str:
        """The bit stream, first bit first."""
        out = [(self.first, 8), (len(self.frequencies) - 1, 8), (self.k, 4)]
        text = "".join(format(value, f"0{n}b")[::-1] for value, n in out)
        before = 0
        for i, f in enumerate(self.frequencies):
            z = 2 * (f - before) if f >= before else -2 * (f - before) - 1
            before = f if i else 0
            low = format(z & (1 << self.k) - 1, f"0{self.k}b")[::-1] if self.k else ""
            text += "1" * (z >> self.k) + "0" + low
        return text

    def layout(self, coder: Coder) -> SymbolTable:
        B = max(coder.buckets[0], (len(self.frequencies) - 1).bit_length())
        return lay_out(
            [*self.frequencies, *[0] * ((1 << B) - len(self.frequencies))], self.first, coder
        )


def pack(bits: str) -> bytes:
    return np.packbits(np.array(list(bits), "U1") == "1", bitorder="little").tobytes()


def code_symbols(
    coder: Coder, step: int, segments: list[tuple[SymbolTable, list[int]]]
) -> tuple[bytes, bytes]:
    """Units and states of `segments`, whose symbols are bytes of their tables or ESCAPE."""
    order: list[tuple[SymbolTable, int, int]] = []
    steps = 0
    for table, symbols in segments:
        for begin in range(0, len(symbols), step):
            for j, symbol in enumerate(symbols[begin : begin + step]):
                order.append((table, symbol, steps * step % coder.lanes + j))
            steps += 1
    x, units = [coder.low_end] * coder.lanes, []
    slots: dict[tuple[int, int], list[int]] = {}
    for table, symbol, lane in reversed(order):
        if (key := (id(table), symbol)) not in slots:
            mine = np.flatnonzero(table.symbol == symbol)
            slots[key] = mine[np.argsort(table.rank[mine])].tolist()
        f = len(slots[key])
        if x[lane] >= f * (coder.low_end >> coder.P) * coder.low_end:
            units.append(x[lane] % coder.low_end)
            x[lane] //= coder.low_end
        x[lane] = (x[lane] // f << coder.P) + slots[key][x[lane] % f]
    return np.array(units[::-1], coder.unit).tobytes(), np.array(x, coder.state).tobytes()


@dataclass
class Craft:
    """One array by its fields; all have values that make a valid empty array."""

    kind: int = 1
    width: int = 1
    count: int = 0
    row_length: int = 1
    chunk_rows: int = 1
    coder: int = 2
    mode: int = 0
    low: int = 0
    drop: int = 0
    flags: int = 0
    base: int = 1
    output: int = 0
    floats: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    row_bytes: bytes = b""
    tables: list[HandTable] = field(default_factory=lambda: [HandTable(0, (1, 4095))])
    end: bytes = b""

    def header(self) -> bytes:
        out = b"LCA1" + bytes([self.kind, self.width])
        out += varint(self.count) + varint(self.row_length) + varint(self.chunk_rows)
        if self.kind == 1:
            out += bytes([self.coder, self.mode, self.low, self.drop, self.flags])
            out += varint(self.base)
        elif self.kind == 2:
            out += bytes([self.coder, self.output]) + np.array(self.floats, "<f4").tobytes()
        if self.kind in (1, 2):
            out += bytes([len(self.tables)]) + varint(len(self.row_bytes)) + self.row_bytes
            out += pack("".join(table.bits() for table in self.tables))
        return out + self.end

    def chunk(
        self, segments: list[list[int]], raw: bytes = b"", tail: bytes = b"", entries: bytes = b""
    ) -> bytes:
        """A chunk with these symbols in coded order (ESCAPE: the byte is in `tail`)."""
        coder = CODERS[self.coder]
        layouts = [table.layout(coder) for table in self.tables]
        coded = list(zip(layouts, segments, strict=True))
        units, states = code_symbols(coder, coder.step, coded)
        sizes = b"".join(varint(len(part)) for part in (units, tail, entries))
        return sizes + raw + units + tail + entries + states


def stream(data: list[int], how: int, table: HandTable) -> bytes:
    """`data` as a coded byte stream (2 small, 3 dense)."""
    coder = CODERS[2 if how == 2 else 1]
    bits = pack(table.bits())
    units, states = code_symbols(coder, coder.lanes, [(table.layout(coder), data)])
    return bytes([how]) + varint(len(bits)) + bits + units + states


@dataclass(frozen=True)
class Hand:
    """What a test needs to code by hand."""

    array: type[Craft] = Craft
    table: type[HandTable] = HandTable
    stream: Callable[[list[int], int, HandTable], bytes] = stream
    escape: int = ESCAPE


@pytest.fixture(scope="session")
def hand() -> Hand:
    return Hand()
