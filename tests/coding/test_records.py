"""Arrays of records: every layout comes back from every decoder, at close to its entropy."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import (
    GROUP,
    RecordStream,
    decoded_nbytes,
    encode_records,
)
from taut.coding import (
    BitPiece as Piece,
)
from taut.coding import (
    ContextTerm as Term,
)
from taut.coding import (
    RecordField as Field,
)
from taut.coding import (
    RecordLayout as Layout,
)
from taut.errors import ArgumentError

Everywhere = Callable[[bytes, Sequence[bytes]], bytes | None]
FUNCTIONS = ("value", "magnitude", "log", "log from middle", "log of signed")


def random_layout(rng: np.random.Generator) -> Layout:
    """Fields of all shapes: rows of a grid of bytes, cut into bits, in any order."""
    fields: list[Field] = []
    at = 0
    for _ in range(int(rng.integers(1, 5))):
        outer, inner = int(rng.integers(1, 4)), int(rng.integers(1, 9))
        cuts = sorted({0, 8, *(int(c) for c in rng.integers(1, 8, int(rng.integers(3))))})
        for low, high in itertools.pairwise(cuts):
            together = int(rng.choice([k for k in (1, 2, 4) if inner % k == 0]))
            if (high - low) * together > 8:
                together = 1
            steps = 8 * together
            pieces = tuple(
                Piece(8 * (at + k) + low, high - low, (8 * inner, steps)) for k in range(together)
            )
            fields.append(
                Field(
                    pieces, (outer, inner // together), 1, together, **context(rng, fields, outer)
                )
            )
        at += outer * inner
    order = [int(i) for i in rng.permutation(len(fields))]
    if any(field.terms for field in fields):
        order.sort()
    return Layout(at, tuple(fields[i] for i in order))


def context(rng: np.random.Generator, before: list[Field], groups: int) -> dict[str, Any]:
    """Terms of whatever earlier field fits, and of the group's number."""
    fits = [i for i, f in enumerate(before) if f.elements == 1]
    fits = [i for i in fits if np.prod(before[i].loops) in (1, groups)]
    sources = [*fits, GROUP]
    terms = tuple(
        Term(int(rng.choice(sources)), int(rng.integers(-300, 300)), str(rng.choice(FUNCTIONS)))  # type: ignore[arg-type]
        for _ in range(int(rng.integers(4)))
    )
    return {"terms": terms, "shift": int(rng.integers(12)), "buckets": 40} if terms else {}


@settings(max_examples=examples(60))
@given(seed=st.integers(0, 2**32), records=st.sampled_from([0, 1, 5, 300, 4000]))
def test_any_layout_comes_back_everywhere(
    seed: int, records: int, decode_everywhere: Everywhere
) -> None:
    rng = np.random.default_rng(seed)
    layout = random_layout(rng)
    bits = rng.random(8 * layout.record) * rng.choice([0.3, 1])
    data = np.packbits(rng.random((records, len(bits))) < bits, axis=1)
    rows = layout.record * int(rng.integers(1, 9))
    coded = encode_records(data, layout, rows)
    assert decode_everywhere(coded.header, coded.chunks) == data.tobytes()
    assert decoded_nbytes(coded.header) == data.size


def four_bits(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    return np.clip(np.rint(rng.normal(8, width, shape)), 0, 15).astype(np.uint8)


def entropy(symbols: np.ndarray) -> float:
    """Bytes of symbols of four bits at their order-0 entropy."""
    share = np.bincount(symbols.reshape(-1), minlength=16) / symbols.size
    return float(-(share[share > 0] * np.log2(share[share > 0])).sum() * symbols.size / 8)


def test_pairs_of_elements_cost_their_entropy() -> None:
    q = four_bits(np.random.default_rng(0), (2000, 128), 2)
    data = q[:, :64] | q[:, 64:] << 4
    layout = Layout(64, (Field((Piece(0, 8, (8,)),), (64,), elements=2),))
    assert encode_records(data, layout, 640).nbytes < 1.003 * entropy(q) + 600


def test_contexts_from_a_field_before_cost_the_entropy_of_each_context() -> None:
    rng = np.random.default_rng(1)
    wide = rng.integers(0, 2, (5000, 1)).astype(np.uint8)
    q = np.where(wide > 0, four_bits(rng, (5000, 32), 3), four_bits(rng, (5000, 32), 0.7))
    data = np.concatenate([wide, q[:, :16] | q[:, 16:] << 4], 1)
    by_first = Field((Piece(8, 8, (8,)),), (16,), 0, 2, (Term(0),), 0, 4)
    alone = Field((Piece(8, 8, (8,)),), (16,), elements=2)
    first = Field((Piece(0, 8),))
    known = encode_records(data, Layout(17, (first, by_first)), 170).nbytes
    ideal = entropy(q[wide[:, 0] > 0]) + entropy(q[wide[:, 0] == 0]) + len(wide) / 8
    assert known < 1.004 * ideal + 800
    assert encode_records(data, Layout(17, (first, alone)), 170).nbytes > 1.1 * known


def test_what_cannot_be_coded_is_raw_beside_what_can() -> None:
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (4000, 8)).astype(np.uint8)
    data = np.concatenate([noise, np.zeros((4000, 8), np.uint8)], 1)
    fields = (
        Field((Piece(0, 8, (8,)),), (8,)),
        Field((Piece(64, 8, (8,)),), (8,)),
    )
    assert encode_records(data, Layout(16, fields), 160).nbytes < 4000 * 8 + 1500
    assert encode_records(noise, Layout(8, fields[:1]), 80).nbytes < noise.size + 20


@pytest.mark.parametrize("block", [1, 300_000])
def test_pieces_give_the_same_bytes(block: int) -> None:
    q = four_bits(np.random.default_rng(3), (20_000, 40), 2)
    by_group = Field((Piece(0, 8, (8,)),), (40,), 1, 1, (Term(GROUP),), 0, 64)
    layout = Layout(40, (by_group,))
    seen: list[bytes] = []
    stream = RecordStream(lambda a, b: q.reshape(-1)[a:b], q.size, layout, 400, block=block)
    stream.prepare(lambda piece: seen.append(piece.tobytes()))
    coded = encode_records(q, layout, 400)
    assert b"".join(seen) == q.tobytes() and len(coded.chunks) == 2
    assert (stream.header, tuple(stream.chunks())) == (coded.header, coded.chunks)


def test_threads_do_not_change_the_bytes() -> None:
    q = four_bits(np.random.default_rng(4), (60_000, 16), 2)
    layout = Layout(16, (Field((Piece(0, 8, (8,)),), (16,)),))
    assert encode_records(q, layout, 160) == encode_records(q, layout, 160, threads=3)


BAD = {
    "bits of no field": Layout(2, (Field((Piece(0, 8),)),)),
    "bits named twice": Layout(1, (Field((Piece(0, 8),)), Field((Piece(0, 8),)))),
    "bits across bytes": Layout(2, (Field((Piece(0, 4),)), Field((Piece(4, 8),)))),
    "bits outside": Layout(1, (Field((Piece(0, 8, (8,)),), (2,)),)),
    "a later field": Layout(1, (Field((Piece(0, 8),), terms=(Term(0),), buckets=2),)),
    "buckets without terms": Layout(1, (Field((Piece(0, 8),), buckets=2),)),
    "65 buckets": Layout(1, (Field((Piece(0, 8),), terms=(Term(GROUP),), buckets=65),)),
    "no field": Layout(1, ()),
    "too large": Layout(5000, (Field((Piece(0, 8, (8,)),), (5000,)),)),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_layout_that_does_not_fit_is_refused(what: str) -> None:
    layout = BAD[what]
    data = np.zeros(layout.record * 4, np.uint8)
    with pytest.raises(ArgumentError, match="layout"):
        encode_records(data, layout, layout.record)
    with pytest.raises(ArgumentError, match="layout"):
        RecordStream(lambda a, b: data[a:b], data.size, layout, layout.record)


def test_rows_of_no_whole_records_are_refused() -> None:
    layout = Layout(3, (Field((Piece(0, 8, (8,)),), (3,)),))
    for size, row in ((9, 4), (10, 3)):
        with pytest.raises(ArgumentError, match="whole records"):
            encode_records(np.zeros(size, np.uint8), layout, row)


def test_passes_are_held_to_their_order() -> None:
    layout = np.frombuffer(Layout(1, (Field((Piece(0, 8),)),)).to_bytes(), np.uint8)
    passes = _core.RecordsPasses(2_000_000, 1000, layout)
    with pytest.raises(ValueError):
        passes.header()
    with pytest.raises(ValueError):
        passes.count(np.zeros(1000, np.uint8))
