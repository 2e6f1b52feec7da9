"""The alias layout, and the byte streams of row classes and escapes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.coding import _reference, encode_lossless
from taut.coding._reference_symbols import CODERS, Coder, alias_layout, lay_out


@st.composite
def tables(draw: st.DrawFn) -> tuple[Coder, list[int]]:
    """A coder and frequencies it can have: any shares of 2^P slots, none of them all."""
    coder = draw(st.sampled_from(CODERS))
    N = 1 << draw(st.integers(*coder.buckets))
    whole = 1 << coder.P
    cuts = draw(st.lists(st.integers(0, whole), min_size=0, max_size=N - 1))
    edges = [0, *sorted(cuts), whole]
    shares = [b - a for a, b in pairwise(edges)]
    frequencies = draw(st.permutations(shares + [0] * (N - len(shares))))
    if max(frequencies) == whole:
        at = frequencies.index(whole)
        frequencies[at] -= 1
        frequencies[at - 1] += 1
    return coder, list(frequencies)


@given(tables())
def test_a_symbol_gets_its_frequency_of_slots_and_every_rank_once(
    table: tuple[Coder, list[int]],
) -> None:
    coder, frequencies = table
    layout = lay_out(frequencies, 1, coder)  # local symbol s is byte s, the escape -1
    for s, f in enumerate(frequencies):
        slots = np.flatnonzero(layout.symbol == (s or -1))
        assert sorted(layout.rank[slots]) == list(range(f))
        assert (layout.frequency[slots] == f).all()


@given(tables())
def test_a_bucket_holds_its_own_symbol_and_at_most_one_more(
    table: tuple[Coder, list[int]],
) -> None:
    coder, frequencies = table
    size = (1 << coder.P) // len(frequencies)
    own, alias = alias_layout(frequencies, size)
    assert all(0 <= o <= size for o in own)
    assert all(a != i for i, (o, a) in enumerate(zip(own, alias, strict=True)) if o < size)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """What the reference met: how the bytes were coded, in how many bytes, how many they were."""
    met: list[tuple[int, int, int]] = []
    read = _reference.byte_stream

    def spy(data: bytes, count: int) -> bytes:
        met.append((data[0], len(data), count))
        return read(data, count)

    monkeypatch.setattr(_reference, "byte_stream", spy)
    return met


def scaled_rows(rng: np.random.Generator, scales: np.ndarray, row: int) -> np.ndarray:
    return (rng.standard_normal((len(scales), row)) * scales[:, None]).astype(np.float16)


@pytest.mark.parametrize(("rows", "how"), [(300, 2), (2500, 3)])
def test_classes_of_rows_cost_their_entropy(
    rows: int, how: int, rng: np.random.Generator, streams: Any, decode_everywhere: Any
) -> None:
    scales = np.where(rng.random(rows) < 0.1, 1.0, 0.001)
    values = scaled_rows(rng, scales, 100)
    coded = encode_lossless(values, effort="max")
    assert decode_everywhere(coded.header, coded.chunks) == values.tobytes()
    kind, nbytes, count = streams[0]
    assert (kind, count) == (how, rows)
    p = np.unique(scales, return_counts=True)[1] / rows
    states = 16 if how == 2 else 256
    assert nbytes < -(p * np.log2(p)).sum() * rows / 8 + states + 40


def test_equal_rows_have_no_classes(
    rng: np.random.Generator, streams: Any, decode_everywhere: Any
) -> None:
    values = np.tile(scaled_rows(rng, np.ones(1), 400), (200, 1))
    coded = encode_lossless(values, effort="max")
    assert decode_everywhere(coded.header, coded.chunks) == values.tobytes()
    assert all(kind == 1 and nbytes == 2 for kind, nbytes, count in streams if count == 200)
    # Every row drops the same bits: a run of two bytes says so.
    single = encode_lossless(scaled_rows(rng, np.ones(200), 400).astype(np.float32), effort="max")
    streams.clear()
    decode_everywhere(single.header, single.chunks)
    assert streams[0] == (1, 2, 200)


def test_rare_symbols_go_through_the_tail(
    rng: np.random.Generator, streams: Any, decode_everywhere: Any
) -> None:
    """Five symbols and, in a thousandth, any of 200: too rare for slots of a 256th each."""
    values = rng.integers(0, 5, 100_000).astype(np.uint8)
    rare = rng.random(values.size) < 0.001
    values[rare] = rng.integers(30, 230, rare.sum())
    coded = encode_lossless(values, effort="fast")
    assert decode_everywhere(coded.header, coded.chunks) == values.tobytes()
    assert coded.nbytes < 1.02 * (np.log2(5) * values.size / 8 + rare.sum() * 2.3)
    assert sum(count for _, _, count in streams) >= rare.sum() * 0.9
