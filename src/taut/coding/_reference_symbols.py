"""Coders, tables and byte streams as docs/coding.md describes them, in numpy.

The entropy half of the reference decoder, from units to symbols; `_reference.py` is the other.
Clear before fast: only the lanes of a step are taken as one vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut.errors import FormatError

OUTPUTS = tuple(np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64))
ESCAPE = -1  # what a slot of local symbol 0 says: the byte stands in the tail


@dataclass(frozen=True)
class Coder:
    """One column of the table of coders."""

    lanes: int
    step: int
    P: int  # a probability is a frequency over 2^P
    unit: np.dtype
    state: np.dtype
    buckets: tuple[int, int]  # least and most of them, as powers of two

    @property
    def low_end(self) -> int:
        """The least state, where coding begins and decoding ends: one unit above nothing."""
        return 1 << (8 * self.unit.itemsize)


_U1, _U2, _U4 = np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4")
FAST = Coder(128, 64, 8, _U1, _U2, (4, 6))
DENSE = Coder(64, 64, 12, _U2, _U4, (5, 8))
SMALL = Coder(4, 4, 12, _U2, _U4, (5, 8))
CODERS = (FAST, DENSE, SMALL)


@dataclass(frozen=True)
class SymbolTable:
    """What each of the 2^P slots says: a byte or ESCAPE, its frequency, the slot's rank in it."""

    symbol: NDArray[np.int64]
    frequency: NDArray[np.int64]
    rank: NDArray[np.int64]


# --- reading bytes and bits -------------------------------------------------------------------


class Bytes:
    """A cursor over bytes that never runs past their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, n: int) -> bytes:
        demand(0 <= n <= len(self.data), "it ends early")
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                demand(value < 1 << 64, "a varint has more than 64 bits")
                return value
        raise FormatError("a varint has more than ten bytes")


class Bits:
    """A cursor over bits, lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self.bits: list[int] = unpack(data).tolist()
        self.at = 0

    def take(self, n: int) -> int:
        bits = self.bits[self.at : self.at + n]
        demand(len(bits) == n, "a table is cut short")
        self.at += n
        return sum(bit << i for i, bit in enumerate(bits))

    def rice(self, k: int, most: int = 48) -> int:
        ones = 0
        while self.take(1):
            ones += 1
            demand(ones <= most, f"a Rice code has more than {most} ones")
        return ones << k | self.take(k)

    def finish(self) -> None:
        rest = self.bits[self.at :]
        demand(len(rest) < 8 and not any(rest), "something follows the last table")


def demand(holds: bool, otherwise: str) -> None:
    """FormatError with the reason, unless a rule of the specification holds."""
    if not holds:
        raise FormatError(f"coded array: {otherwise}")


def unpack(data: bytes) -> NDArray[np.uint8]:
    """The bits of a bit stream, one an entry."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")


# --- tables -----------------------------------------------------------------------------------


def read_tables(data: bytes, count: int, coder: Coder) -> tuple[SymbolTable, ...]:
    """The `count` tables of a bit stream that holds nothing else."""
    bits = Bits(data)
    tables = tuple(_read_table(bits, coder) for _ in range(count))
    bits.finish()
    return tables


def _read_table(bits: Bits, coder: Coder) -> SymbolTable:
    first, count, k = bits.take(8), bits.take(8), bits.take(4)
    demand(count >= 1 and first + count <= 256 and k <= 12, "a table's first fields are off")
    least, most = coder.buckets
    B = max(least, count.bit_length())
    demand(count < 1 << most, "a table has more symbols than its coder allows")
    frequencies = [0] * (1 << B)
    for s in range(count + 1):
        z = bits.rice(k)
        before = frequencies[s - 1] if s > 1 else 0
        frequencies[s] = before + (z // 2 if z % 2 == 0 else -(z + 1) // 2)
        demand(0 <= frequencies[s] < 1 << coder.P, "a frequency is out of range")
    demand(sum(frequencies) == 1 << coder.P, "frequencies do not sum to 2^P")
    demand(count == 1 or frequencies[count] > 0, "a table ends in a frequency of zero")
    return lay_out(frequencies, first, coder)


def lay_out(frequencies: list[int], first: int, coder: Coder) -> SymbolTable:
    size = (1 << coder.P) // len(frequencies)
    own, alias = alias_layout(frequencies, size)
    local, rank = [], []
    next_rank = list(own)
    for bucket, (mine, donor) in enumerate(zip(own, alias, strict=True)):
        local += [bucket] * mine + [donor] * (size - mine)
        rank += list(range(mine))
        rank += list(range(next_rank[donor], next_rank[donor] + size - mine))
        next_rank[donor] += size - mine
    local_of_slot = np.array(local)
    symbol = np.where(local_of_slot == 0, ESCAPE, first + local_of_slot - 1)
    return SymbolTable(symbol, np.array(frequencies)[local_of_slot], np.array(rank))


def alias_layout(frequencies: list[int], size: int) -> tuple[list[int], list[int]]:
    """Slots that each bucket of `size` slots keeps for its own symbol, and who gets the others.

    >>> alias_layout([1, 7, 4, 0], 3)
    ([1, 2, 3, 0], [1, 2, 2, 1])
    """
    N = len(frequencies)
    rest, own, alias, done = list(frequencies), [size] * N, list(range(N)), [False] * N

    def next_large(i: int) -> int:
        while i < N and rest[i] <= size:
            i += 1
        return i

    large = next_large(0)
    for i in range(N):
        j = i
        while not done[j] and rest[j] < size and large < N:
            own[j], alias[j], done[j] = rest[j], large, True
            donor = large
            rest[donor] -= size - own[j]
            large = next_large(large)
            if donor > i:
                break
            j = donor
    return own, alias


# --- the entropy decoder ----------------------------------------------------------------------


def decode_symbols(
    coder: Coder, step: int, segments: list[tuple[SymbolTable, int]], units: bytes, states: bytes
) -> NDArray[np.int64]:
    """Symbols of all segments in coded order: bytes, or ESCAPE."""
    demand(len(units) % coder.unit.itemsize == 0, "half a unit is left over")
    unit = np.frombuffer(units, coder.unit).astype(np.int64)
    x = np.frombuffer(states, coder.state).astype(np.int64)
    demand(bool((x >= coder.low_end).all()), "a first state is out of range")
    symbols, steps, at = [np.empty(0, np.int64)], 0, 0
    for table, count in segments:
        for begin in range(0, count, step):
            lane = steps * step % coder.lanes
            lanes = x[lane : lane + min(step, count - begin)]  # a view: x changes with it
            slot = lanes & ((1 << coder.P) - 1)
            symbols.append(table.symbol[slot])
            lanes[:] = table.frequency[slot] * (lanes >> coder.P) + table.rank[slot]
            short = np.flatnonzero(lanes < coder.low_end)
            demand(at + len(short) <= len(unit), "the units are cut short")
            lanes[short] = lanes[short] * coder.low_end + unit[at : at + len(short)]
            at += len(short)
            steps += 1
    demand(at == len(unit), "units are left over")
    demand(bool((x == coder.low_end).all()), "a last state is not where the encoder began")
    return np.concatenate(symbols)


def byte_stream(data: bytes, count: int) -> bytes:
    """The `count` bytes that a byte stream stands for."""
    b = Bytes(data)
    how = b.u8()
    demand(how <= 3, "unknown byte stream")
    if how < 2:
        demand(len(b.data) == (1 if how else count), "a byte stream has the wrong length")
        return b.data * count if how else b.data
    coder = SMALL if how == 2 else DENSE
    table = read_tables(b.take(b.varint()), 1, coder)[0]
    demand(not (table.symbol == ESCAPE).any(), "a byte stream's table has an escape")
    demand(count <= 4096 * 8 * len(b.data), "a byte stream claims too many symbols")
    units = b.take(len(b.data) - coder.lanes * coder.state.itemsize)
    symbols = decode_symbols(coder, coder.lanes, [(table, count)], units, b.data)
    return symbols.astype(np.uint8).tobytes()
