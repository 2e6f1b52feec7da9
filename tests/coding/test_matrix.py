"""Quantised matrices decode to what a formula in plain numpy gives, whatever codes them."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.thorough import examples, sample

from taut import _core
from taut.coding import (
    Effort,
    Job,
    decode,
    decoded_nbytes,
    encode_indices,
    encode_matrix,
    estimate_matrix,
    exponent_scale,
    matrix_levels,
)
from taut.errors import ArgumentError, FormatError

F32, F16, BF16, F64 = (
    np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
)
LIMITS = np.array(
    [-(2**31), 2**31 - 1, -129, -128, -127, -65, -64, -63, 62, 63, 64, 65, 126, 127, 2**24 + 1],
    np.int32,
)
OFFSET = st.one_of(st.just(0.0), st.just(0.125), st.floats(-1, 1, width=32))
# By [state, parity of the index]; the lowest bit of a state names the quantiser.
NEXT = [(0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6)]


def levels(q: np.ndarray, trellis: bool) -> np.ndarray:
    """Levels one by one: 2q, and with an odd state one nearer to zero."""
    out = np.empty(q.shape, np.int64)
    for i, row in enumerate(q.tolist()):
        state = 0
        for j, index in enumerate(row):
            out[i, j] = index
            if trellis:
                out[i, j] = 2 * index - (state & 1) * ((index > 0) - (index < 0))
                state = NEXT[state][index & 1 if -128 <= index <= 126 else 1]
    return out


def expected(q: np.ndarray, s: dict[str, Any]) -> bytes:
    """Every operation of the formula in float32, in the order of the text."""
    rows, columns = np.float32(s["step"]), np.float32(1)
    if s["row_exponents"] is not None:
        power = (s["row_exponents"] - 128.0) / 2 ** s["row_fraction"]
        rows = rows * np.exp2(power).astype(np.float32)[:, None]
    if s["column_exponents"] is not None:
        power = (s["column_exponents"] - 128.0) / 2 ** s["column_fraction"]
        columns = np.exp2(power).astype(np.float32)
    offset = np.array([0, *s["offsets"]], np.float32)[np.minimum(abs(q.astype(np.int64)), 3)]
    with np.errstate(all="ignore"):
        amount = levels(q, s["trellis"]).astype(np.float32) - np.sign(q).astype(np.float32) * offset
        return (amount * rows * columns).astype(s["dtype"]).tobytes()


def matrix(rng: np.random.Generator, shape: tuple[int, int], outliers: float) -> np.ndarray:
    spread = np.exp2(rng.uniform(-2, 2, (shape[0], 1)) + rng.uniform(-1, 1, (1, shape[1])))
    q = np.rint(rng.normal(0, 1, shape) * spread).astype(np.int32)
    q = np.where(rng.random(shape) < outliers, rng.choice(LIMITS, shape), q).astype(np.int32)
    q[0, 0] = 1  # not all zero, which is a constant
    return q


def settings_of(rng: np.random.Generator, shape: tuple[int, int], **given: Any) -> dict[str, Any]:
    """Exponents in every second case, small ones and any."""
    wide = int(rng.integers(2)) * 40
    fields: dict[str, Any] = {"row_fraction": int(rng.integers(5)), "effort": "max"}
    fields |= {"column_fraction": int(rng.integers(5)), "step": 0.0371, "offsets": (0, 0, 0)}
    for name, count in (("row_exponents", shape[0]), ("column_exponents", shape[1])):
        draw = rng.integers(124 - wide, 132 + wide, count).astype(np.uint8)
        fields[name] = draw if rng.integers(2) else None
    return fields | given


def check(q: np.ndarray, s: dict[str, Any], decode_everywhere: Any) -> str:
    """The coder that was chosen."""
    coded = encode_matrix(q, **s)
    assert decode_everywhere(coded.header, coded.chunks) == expected(q, s)
    fact = _core.inspect(np.frombuffer(coded.header, np.uint8))
    assert fact["kind"] == "matrix"
    return str(fact["coder"])


def damaged_offsets(offsets: tuple[float, float, float]) -> tuple[bytes, list[bytes]]:
    """Header and chunks of a small matrix with these offsets written over its own."""
    q = np.array([[1, -2, 3], [0, 1, -4]], np.int32)
    coded = encode_matrix(q, step=1.0, offsets=(0.3, 0.1, 0.7), trellis=False, dtype=F32)
    own = np.array([0.3, 0.1, 0.7], "<f4").tobytes()
    assert coded.header.count(own) == 1
    return coded.header.replace(own, np.array(offsets, "<f4").tobytes()), list(coded.chunks)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_an_offset_of_a_whole_step_is_allowed(
    place: int, value: float, decode_everywhere: Any
) -> None:
    offsets = [0.3, 0.1, 0.7]
    offsets[place] = value
    header, chunks = damaged_offsets(tuple(offsets))
    decoded = np.frombuffer(decode_everywhere(header, chunks), np.float32).reshape(2, 3)
    o = np.array(offsets, np.float32)
    truth = [[1 - o[0], -2 + o[1], 3 - o[2]], [0, 1 - o[0], -4 + o[2]]]
    np.testing.assert_array_equal(decoded, np.array(truth, np.float32))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "value", [1 + 2.0**-23, -1 - 2.0**-23, 2.0, 1e38, np.inf, -np.inf, np.nan, -np.nan]
)
def test_an_offset_of_more_than_a_step_is_refused(
    place: int, value: float, decode_everywhere: Any
) -> None:
    """It would move a weight past its neighbours, or make it no number at all."""
    offsets = [0.3, 0.1, 0.7]
    offsets[place] = value
    header, chunks = damaged_offsets(tuple(offsets))
    assert decode_everywhere(header, chunks) is None
    with pytest.raises(FormatError, match="offset"):
        decoded_nbytes(header)


@pytest.mark.parametrize("byte", [-128, -127, 127])
def test_an_offset_in_128ths_is_never_more_than_a_step(byte: int, decode_everywhere: Any) -> None:
    q = np.array([[1, -1]], np.int32)
    coded = encode_matrix(q, step=1.0, offsets=(0.125, 0.25, 0.5), trellis=False, dtype=F32)
    own = bytes([16, 32, 64])
    assert coded.header.count(own) == 1
    header = coded.header.replace(own, bytes([byte & 255, 32, 64]))
    decoded = np.frombuffer(decode_everywhere(header, coded.chunks), np.float32)
    assert decoded.tolist() == [1 - byte / 128, -1 + byte / 128]


@settings(max_examples=examples(150))
@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([1, 2, 5, 40, 130]),
    columns=st.sampled_from([1, 3, 16, 129, 300]),
    outliers=st.sampled_from([0.0, 0.003, 0.5]),
    trellis=st.booleans(),
    step=st.floats(0.0, 2.0**20, width=32),
    offsets=st.tuples(OFFSET, OFFSET, OFFSET),
    dtype=st.sampled_from([F32, F16, BF16, F64]),
)
@example(
    seed=0, rows=5, columns=300, outliers=0.5, trellis=True, step=2.0**-149,
    offsets=(0.5, 0.5, 0.5), dtype=F16,
)  # fmt: skip
@example(
    seed=1, rows=40, columns=129, outliers=0.0, trellis=True, step=2.0**118,
    offsets=(1.0, -1.0, 0.3), dtype=F32,
)  # fmt: skip
def test_any_matrix_decodes_to_the_formula(
    seed: int, rows: int, columns: int, outliers: float, trellis: bool, step: float,
    offsets: tuple[float, float, float], dtype: np.dtype, decode_everywhere: Any,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    q = matrix(rng, (rows, columns), outliers)
    s = settings_of(
        rng, q.shape, trellis=trellis, step=step, offsets=offsets, dtype=dtype
    )  # fmt: skip
    if step > 2.0**100:
        s["row_exponents"] = None
    assert check(q, s, decode_everywhere) == "small"


@pytest.mark.parametrize("trellis", [False, True])
@pytest.mark.parametrize(
    "dtype", sample([F32, F16, BF16, F64], "the reference decoder reads every lane")
)
@pytest.mark.parametrize(
    ("shape", "effort", "coder"),
    [((130, 600), "max", "dense"), ((65, 300), "fast", "dense"), ((257, 520), "fast", "fast")],
)
@pytest.mark.parametrize("outliers", [0, 0.0005])
def test_many_lanes_decode_to_the_formula(
    shape: tuple[int, int], effort: Effort, coder: str, trellis: bool, dtype: np.dtype,
    outliers: float, rng: np.random.Generator, decode_everywhere: Any,
) -> None:  # fmt: skip
    q = matrix(rng, shape, outliers)
    s = settings_of(
        rng, shape, trellis=trellis, dtype=dtype, effort=effort, offsets=(0.1, 0.06, 0.02)
    )
    assert check(q, s, decode_everywhere) == coder


@pytest.mark.parametrize("scale", [1, 7, 20, 60])
@pytest.mark.parametrize("trellis", [False, True])
def test_wide_tables_of_many_buckets_decode_too(
    scale: int, trellis: bool, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    """Tables of 16 buckets and of 256, and levels on both sides of what a byte holds."""
    q = np.rint(rng.normal(0, scale, (160, 900))).astype(np.int32)
    for effort in ("fast", "max"):
        s = settings_of(rng, q.shape, trellis=trellis, dtype=F32, effort=effort)
        check(q, s, decode_everywhere)


def test_every_half_is_rounded_to_nearest_even(decode_everywhere: Any) -> None:
    """Multiples of half a unit in the last place of all sizes: ties, overflow, denormals."""
    q = np.arange(-64 * 600, 64 * 600, dtype=np.int32).reshape(128, -1) % 121 - 60
    exponents = np.linspace(100, 146, q.shape[0]).astype(np.uint8)
    for dtype, shift in ((F16, 0), (BF16, -16), (BF16, 110)):
        s = settings_of(
            np.random.default_rng(0), q.shape, trellis=True, dtype=dtype, row_fraction=0,
            step=2.0**shift * 0.75, row_exponents=exponents, column_exponents=None,
        )  # fmt: skip
        check(q, s, decode_everywhere)


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("trellis", [False, True])
def test_the_estimate_is_near_and_threads_do_not_matter(
    effort: Effort, trellis: bool, rng: np.random.Generator
) -> None:
    for shape in ((16, 144), (1400, 1000)):
        q = matrix(rng, shape, 0)
        s = settings_of(rng, shape, trellis=trellis, dtype=BF16, effort=effort)
        coded = encode_matrix(q, **s)
        assert encode_matrix(q, **s, threads=2) == coded
        side = {k: s[k] for k in ("row_exponents", "column_exponents", "trellis", "effort")}
        assert estimate_matrix(q, **side) == pytest.approx(coded.nbytes, rel=0.005, abs=20)


def quantiser_of(q: np.ndarray, trellis: bool) -> np.ndarray:
    state, out = np.zeros(len(q), int), np.zeros(q.shape, int)
    for j in range(q.shape[1] * trellis):
        out[:, j] = state & 1
        state = np.array(NEXT)[state, q[:, j] & 1]
    return out


def entropy(q: np.ndarray) -> float:
    """Bytes that these numbers take at their own frequencies."""
    n = np.unique(q, return_counts=True)[1]
    return float(-(n * np.log2(n / n.sum())).sum()) / 8 if n.size else 0.0


@pytest.mark.parametrize("trellis", [False, True])
@pytest.mark.parametrize(("effort", "most"), [("fast", 1.01), ("max", 1.003)])
def test_a_matrix_takes_its_entropy(
    effort: Effort, most: float, trellis: bool, rng: np.random.Generator
) -> None:
    """That of each quantiser's indices, with one class of rows and columns."""
    q = np.rint(rng.normal(0, 1.3, (1000, 800))).astype(np.int32)
    which = quantiser_of(q, trellis)
    bound = entropy(q[which == 0]) + entropy(q[which == 1])
    coded = encode_matrix(q, step=1, trellis=trellis, dtype=F32, effort=effort)
    assert bound * 0.999 < coded.nbytes < bound * most


def test_rows_and_columns_of_their_own_scale_pay_for_their_class(rng: np.random.Generator) -> None:
    """A product of scales in quarters of an octave costs its entries' entropy and their names."""
    row, column = rng.integers(0, 8, 1200) / 4, rng.integers(0, 8, 900) / 4
    q = np.rint(rng.normal(0, 0.4, (1200, 900)) * np.exp2(row[:, None] + column)).astype(np.int32)
    sums = 4 * (row[:, None] + column)
    bound = sum(entropy(q[sums == s]) for s in np.unique(sums)) + entropy(row) + entropy(column)
    coded = encode_matrix(q, step=1, trellis=False, dtype=F32)
    assert coded.nbytes < 1.01 * bound
    plain = encode_indices(q, step=1, offsets=(0, 0, 0), dtype=F32)
    assert coded.nbytes < 0.97 * plain.nbytes


def test_a_small_matrix_pays_little_beside_its_entropy(rng: np.random.Generator) -> None:
    """2,304 weights: header, tables, states and chunk take 70 bytes, exponents half a byte each."""
    q = np.rint(rng.normal(0, 1.2, (16, 144))).astype(np.int32)
    which = quantiser_of(q, True)
    bound = entropy(q[which == 0]) + entropy(q[which == 1])
    exponents = np.rint(rng.normal(126, 1.5, 16)).astype(np.uint8)
    s = {"step": 0.03, "trellis": True, "dtype": F32, "offsets": (0.125, 0.0625, 0.0)}
    coded = encode_matrix(q, **s, row_exponents=exponents)
    assert coded.nbytes < bound + 75
    assert _core.inspect(np.frombuffer(coded.header, np.uint8))["tables"] == 2


@given(exponent=st.integers(0, 255), fraction=st.integers(0, 4))
def test_a_scale_is_a_power_of_two(exponent: int, fraction: int) -> None:
    scale = exponent_scale(np.array([exponent], np.uint8), fraction)
    assert scale[0] == np.float32(2.0 ** ((exponent - 128) / 2**fraction))


@given(seed=st.integers(0, 2**32), trellis=st.booleans())
def test_levels_follow_the_trellis(seed: int, trellis: bool) -> None:
    q = matrix(np.random.default_rng(seed), (7, 30), 0.1)
    assert (matrix_levels(q, trellis=trellis) == levels(q, trellis)).all()


def test_zeros_are_a_constant() -> None:
    coded = encode_matrix(np.zeros((300, 70), np.int32), step=1, trellis=True, dtype=F16)
    out = np.ones((300, 70), np.float16)
    decode([Job(coded.header, coded.chunks, out)])
    assert coded.nbytes < 20 and not out.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": np.dtype(np.int8)}, "int8"),
        ({"step": -1.0}, "step -1"),
        ({"step": float("nan")}, "step nan"),
        ({"offsets": (0.0, 1.5, 0.0)}, "offsets"),
        ({"row_fraction": 5}, "row_fraction 5"),
        ({"row_exponents": np.zeros(3, np.uint8)}, "row_exponents"),
        ({"column_exponents": np.zeros(3, np.int64)}, "column_exponents"),
        ({"indices": np.ones(9, np.int32)}, "no matrix"),
        ({"row_exponents": np.full(2, 255, np.uint8), "row_fraction": 0, "step": 3.0}, "infinite"),
    ],
)
def test_what_cannot_be_coded_is_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"indices": np.ones((2, 3), np.int32), "step": 1.0, "trellis": True}
    given |= {"dtype": F32} | change
    indices = given.pop("indices")
    with pytest.raises(ArgumentError, match=message):
        encode_matrix(indices, **given)


@pytest.mark.parametrize("trellis", [False, True])
def test_a_matrix_of_several_chunks_has_each_in_its_place(rng, trellis):
    shape = (1100, 1000)
    q = np.rint(rng.normal(0, 0.8, shape) * np.linspace(0.2, 4, 1100)[:, None]).astype(np.int32)
    coded = encode_matrix(q, step=0.5, offsets=(0.0, 0.0, 0.0), trellis=trellis, dtype=F32)
    assert len(coded.chunks) > 1
    out = np.empty(shape, np.float32)
    decode([Job(coded.header, coded.chunks, out)], threads=2)
    assert np.array_equal(out, np.float32(0.5) * levels(q, trellis))
