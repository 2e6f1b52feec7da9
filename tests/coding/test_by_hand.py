"""Arrays that no encoder writes but the specification allows: all decoders agree on them."""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.coding import Job, decode, decoded_nbytes
from taut.errors import FormatError

PROBABILITY = {0: 8, 1: 12, 2: 12}
MOST_SYMBOLS = {0: 63, 1: 255, 2: 255}


def frequencies(rng: np.random.Generator, count: int, whole: int, spread: float) -> tuple[int, ...]:
    """An escape and `count` symbols; some without a slot, the last with one."""
    weight = rng.random(count + 1) ** spread * (rng.random(count + 1) < 0.8)
    weight[-1] += 0.01
    f = np.floor(weight / weight.sum() * (whole - 2)).astype(int)
    f[-1] += 1
    f[rng.integers(count + 1)] += 1  # at least two symbols, or one and the escape
    if (f > 0).sum() == 1:
        f[0 if f[0] == 0 else 1] += 1
    best = int(np.argmax(f))
    f[best] += whole - f.sum()
    while f[best] >= whole:
        f[best] -= 1
        f[best - 1] += 1
    return tuple(int(v) for v in f)


def table(hand: Any, rng: np.random.Generator, coder: int, escape: bool = True) -> Any:
    whole = 1 << PROBABILITY[coder]
    most = MOST_SYMBOLS[coder] if rng.random() < 0.5 else 6
    count = int(rng.integers(1, most + 1))
    f = frequencies(rng, count, whole, rng.choice([0.0, 1.0, 9.0]))
    if not escape:
        f = (0, f[1] + f[0], *f[2:])
        if f[1] == whole:
            f = (0, whole - 1, 1)
    return hand.table(int(rng.integers(0, 257 - (len(f) - 1))), f)


def symbols_of(t: Any, rng: np.random.Generator, n: int, escape: int) -> list[int]:
    local = np.flatnonzero(np.array(t.frequencies))
    drawn = rng.choice(local, n)
    return [escape if s == 0 else t.first + int(s) - 1 for s in drawn]


def row_stream(hand: Any, rng: np.random.Generator, rows: list[int]) -> bytes:
    """The row bytes in one of the four ways that a byte stream allows."""
    how = int(rng.integers(4))
    if how == 0 or not rows:
        return bytes([0, *rows])
    if len(set(rows)) == 1:
        return bytes([1, rows[0]])
    first, last = min(rows), max(rows)
    count = last - first + 1
    f = (0, 4096 - (count - 1), *[1] * (count - 1))
    return hand.stream(rows, 2 if how < 3 else 3, hand.table(first, f))


def any_array(hand: Any, seed: int, kind: int) -> tuple[bytes, list[bytes], int]:
    """Header, chunks and decoded size of an array with fields drawn from all that are allowed."""
    rng = np.random.default_rng(seed)
    coder = int(rng.integers(3))
    width = int(rng.choice([1, 2, 4, 8]))
    mode = int(rng.integers(3))
    low = int(rng.integers(mode == 1, min(57, 8 * width - 1) + 1))
    drop = int(rng.integers(0, low + (mode != 1)))
    row_length, chunk_rows = int(rng.integers(1, 200)), int(rng.integers(1, 9))
    count = int(rng.integers(1, 3 * row_length * chunk_rows))
    array = hand.array(kind, width, count, row_length, chunk_rows, coder, mode, low, drop)
    array.flags = int(rng.integers(2)) if array.mode == 1 else 0  # bare zeros are floats
    array.base = int(rng.integers(0, 1 << 63, dtype=np.uint64)) >> int(rng.integers(64))
    if kind == 2:
        array.output = int(rng.integers(4))
        array.width = (4, 2, 2, 8)[array.output]
        array.floats = (abs(rng.normal()), *rng.uniform(-1, 1, 3))
        array.drop = drop = 0
    array.tables = [table(hand, rng, coder) for _ in range(int(rng.choice([1, 2, 32])))]
    rows = -(-count // row_length)
    marks = 128 * (rng.random(rows) < 0.5) * (drop > 0)
    row_bytes = [int(b) for b in rng.integers(0, len(array.tables), rows) + marks]
    array.row_bytes = row_stream(hand, rng, row_bytes)

    chunks = []
    for first in range(0, rows, chunk_rows):
        mine = row_bytes[first : first + chunk_rows]
        lengths = [min(row_length, count - r * row_length) for r in range(first, first + len(mine))]
        chunks.append(any_chunk(hand, rng, array, mine, lengths))
    return array.header(), chunks, count * array.width


def any_chunk(
    hand: Any, rng: np.random.Generator, array: Any, row_bytes: list[int], lengths: list[int]
) -> bytes:
    per_row = [
        symbols_of(array.tables[b & 127], rng, n, hand.escape)
        for b, n in zip(row_bytes, lengths, strict=True)
    ]
    segments: list[list[int]] = [[] for _ in array.tables]
    for b, symbols in zip(row_bytes, per_row, strict=True):
        segments[b & 127] += symbols
    escapes = sum(segment.count(hand.escape) for segment in segments)
    tail = rng.integers(0, 256, escapes, np.uint8).tobytes()
    # In coded order: what stands in the tail goes back to the rows by their tables.
    left, raw, exceptions = iter(tail), b"", 0
    true_rows: dict[int, list[int]] = {}
    for t in range(len(array.tables)):
        for r, (b, symbols) in enumerate(zip(row_bytes, per_row, strict=True)):
            if b & 127 == t:
                true_rows[r] = [next(left) if s == hand.escape else s for s in symbols]
    for r, b in enumerate(row_bytes):
        symbols = true_rows[r]
        exceptions += symbols.count(255)
        bare = symbols.count(0) + symbols.count(254) if array.flags else 0
        stored = len(symbols) - bare
        bits = array.low - (array.drop if b > 127 else 0)
        raw += rng.bytes((stored * bits + 7) // 8) if array.kind == 1 else b""
    entries = rng.bytes(exceptions * (array.width if array.kind == 1 else 4))
    return array.chunk(segments, raw, b"\0" + tail if escapes else b"", entries)


@settings(max_examples=examples(150))
@given(seed=st.integers(0, 2**32), kind=st.sampled_from([1, 2]))
def test_every_decoder_agrees_on_arrays_with_any_fields(
    seed: int, kind: int, hand: Any, decode_everywhere: Any
) -> None:
    header, chunks, nbytes = any_array(hand, seed, kind)
    decoded = decode_everywhere(header, chunks)
    assert decoded is not None
    assert len(decoded) == nbytes


def test_values_are_what_the_text_says(hand: Any, decode_everywhere: Any) -> None:
    """Eight values by hand: symbol, field and exception to a word, in every mode."""
    t = hand.table(0, (0, *[16] * 255, 16))
    assert sum(t.frequencies) == 4096
    t = hand.table(0, (16, *[16] * 255))
    assert sum(t.frequencies) == 4096
    array = hand.array(1, 2, 4, 4, 1, 2, 0, 4, base=100, tables=[t])
    chunk = [[0, 1, 254, hand.escape]]
    raw, tail, entries = bytes([0x21, 0x43]), b"\1\xff", b"\xcd\x0a"
    unsigned = [0x001, 100 << 4 | 2, 353 << 4 | 3, 0xACD << 4 | 4]
    for mode, expected in (
        (0, unsigned),
        (2, [u ^ 0x8000 for u in unsigned]),
        (1, [0x001, 100 << 3 | 2, 353 << 3 | 3, (0xACD << 3) & 0xFFFF | 4]),
    ):
        array.mode = mode
        decoded = decode_everywhere(array.header(), [array.chunk(chunk, raw, tail, entries)])
        assert np.frombuffer(decoded, "<u2").tolist() == expected
    array.mode, array.drop, array.row_bytes = (
        1,
        2,
        b"\1\x80",
    )  # two bits a value: sign, one field bit
    decoded = decode_everywhere(
        array.header(), [array.chunk(chunk, bytes([0b11_10_01_00]), tail, entries)]
    )
    expected = [0, 100 << 3 | 4, 353 << 3 | 0x8000, (0xACD << 3) & 0xFFFF | 4 | 0x8000]
    assert np.frombuffer(decoded, "<u2").tolist() == expected


BROKEN: dict[str, dict[str, Any]] = {
    "kind": {"kind": 4},
    "width": {"width": 3},
    "no width": {"width": 0},
    "count": {"count": 2**56 + 1, "row_length": 1 << 22},
    "no rows": {"row_length": 0},
    "no chunks": {"chunk_rows": 0},
    "chunk too large": {"row_length": 1 << 12, "chunk_rows": (1 << 10) + 1},
    "chunk that overflows": {"row_length": 1 << 33, "chunk_rows": 1 << 33},
    "coder": {"coder": 3},
    "mode": {"mode": 3},
    "low": {"low": 8},
    "low of 64 bits": {"width": 8, "low": 58},
    "no sign": {"mode": 1, "low": 0},
    "drop": {"low": 3, "drop": 4},
    "drop the sign": {"mode": 1, "low": 3, "drop": 3},
    "flags": {"flags": 2},
    "output": {"kind": 2, "width": 4, "output": 4},
    "output's width": {"kind": 2, "width": 4, "output": 1},
    "no table": {"tables": []},
    "stored with an end": {"kind": 0, "end": b"\0"},
    "constant without value": {"kind": 3},
    "constant with an end": {"kind": 3, "end": b"\0\0"},
    "an end": {"end": b"\0"},
    "rows stream": {"row_bytes": b"\4"},
    "rows too many": {"row_bytes": b"\0\0"},
    "run too long": {"row_bytes": b"\1\0\0"},
    "coded rows without states": {"row_bytes": b"\3\0"},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_header_that_breaks_a_rule_is_refused(
    rule: str, hand: Any, decode_everywhere: Any
) -> None:
    assert decode_everywhere(hand.array().header(), []) == b""
    assert decode_everywhere(replace(hand.array(), **BROKEN[rule]).header(), []) is None


TABLES: dict[str, tuple[int, tuple[int, ...], int]] = {
    "sum": (0, (1, 4094), 12),
    "certain": (0, (0, 4096), 12),
    "last is zero": (0, (1, 4095, 0), 12),
    "past 255": (255, (1, 4000, 95), 12),
    "no symbol": (0, (4096,), 12),
    "Rice parameter": (0, (1, 4095), 13),
    "long code": (0, (1, 4095), 7),
}


@pytest.mark.parametrize("rule", TABLES)
def test_a_table_that_breaks_a_rule_is_refused(
    rule: str, hand: Any, decode_everywhere: Any
) -> None:
    array = hand.array(tables=[hand.table(*TABLES[rule])])
    assert decode_everywhere(array.header(), []) is None


def test_a_row_needs_its_table_and_something_to_drop(hand: Any, decode_everywhere: Any) -> None:
    for row, low, drop, allowed in ((1, 0, 0, False), (128, 3, 0, False), (128, 3, 3, True)):
        array = hand.array(1, 1, 1, low=low, drop=drop, row_bytes=bytes([1, row]))
        raw = bytes((low - drop + 7) // 8)
        assert (decode_everywhere(array.header(), [array.chunk([[0]], raw)]) == b"\0") is allowed


def test_a_byte_stream_has_no_escape(hand: Any, decode_everywhere: Any) -> None:
    two = [hand.table(0, (1, 4095))] * 2
    for escape, allowed in (
        (hand.escape, False),
        (1, True),
    ):  # mistaken for byte 1 - 1 it would pass
        table = (
            hand.table(1, (2048, 2048)) if escape == hand.escape else hand.table(1, (0, 4095, 1))
        )
        rows = hand.stream([1, escape, 1], 2, table)
        array = hand.array(1, 1, 3, chunk_rows=3, row_bytes=rows, tables=two)
        segments = [[], [0, 0, 0]] if allowed else [[0], [0, 0]]
        assert (decode_everywhere(array.header(), [array.chunk(segments)]) is not None) is allowed


@pytest.mark.parametrize("count", [2**42, 2**56])
def test_rows_beyond_memory_are_never_made(count: int, hand: Any) -> None:
    """A header of thirty bytes must not claim a byte for each of 2^56 rows and get it."""
    rows = hand.array(1, 1, count, row_bytes=b"\1\0")
    with contextlib.suppress(FormatError):
        decoded_nbytes(rows.header())
    with pytest.raises(FormatError):
        decode([Job(rows.header(), [b""], np.empty(1, np.uint8))])


def test_a_tail_needs_an_escape(hand: Any, decode_everywhere: Any) -> None:
    """Bytes that nothing points to are no part of an array: one content, one file."""
    array = hand.array(1, 1, 5, row_length=5, tables=[hand.table(0, (1, 2000, 2095))])
    symbols = [0, 1, 0, 1, 1]
    assert decode_everywhere(array.header(), [array.chunk([symbols])]) == b"\0\1\0\1\1"
    for tail in (b"\0", b"\0\0", b"\1\xff", b"\0" + bytes(200)):
        assert decode_everywhere(array.header(), [array.chunk([symbols], tail=tail)]) is None
    escaped = [0, 1, hand.escape, 1, 1]
    chunk = array.chunk([escaped], tail=b"\1\7")
    assert decode_everywhere(array.header(), [chunk]) == b"\0\1\7\1\1"
    for tail in (b"", b"\0", b"\0\7\7"):  # nor may there be fewer or more of them
        assert decode_everywhere(array.header(), [array.chunk([escaped], tail=tail)]) is None


def test_parts_are_used_up_and_states_are_in_range(hand: Any, decode_everywhere: Any) -> None:
    array = hand.array(1, 1, 5, row_length=5, tables=[hand.table(0, (1, 2000, 2095))])
    chunk = array.chunk([[0, 1, 0, 1, 1]])
    assert decode_everywhere(array.header(), [chunk]) == b"\0\1\0\1\1"
    empty_tail, low_state, high_state = bytearray(chunk), bytearray(chunk), bytearray(chunk)
    empty_tail[1] = 1
    low_state[-4:] = (0xFFFF).to_bytes(4, "little")
    high_state[-4:] = (0xFFFFFFFF).to_bytes(4, "little")
    for broken in (empty_tail, low_state, high_state, chunk + b"\0", chunk[:-1], b""):
        assert decode_everywhere(array.header(), [bytes(broken)]) is None
    for chunks in ([], [chunk, chunk]):
        assert decode_everywhere(array.header(), chunks) is None
