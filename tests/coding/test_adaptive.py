"""Adaptive arrays decode to what a formula in plain numpy gives, at close to their entropy."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import Job, decode, decoded_nbytes, encode_adaptive, encode_indices, encode_matrix
from taut.errors import ArgumentError, FormatError

F32, F16, BF16, F64 = (
    np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
)
LIMITS = np.array([-(2**31), 2**31 - 1, 255, -256, 15, 2**24 + 1], np.int32)


def indices(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> np.ndarray:
    """Rows and columns of unlike density, some of them empty, and now and then a huge value."""
    wide = np.exp(rng.normal(0, 1, (shape[0], 1))) * np.exp(rng.normal(0, 1, (1, shape[1])))
    live = (rng.random((shape[0], 1)) < 0.8) & (rng.random((1, shape[1])) < 0.8)
    q = np.rint(rng.laplace(0, spread, shape) * wide * live)
    return np.where(rng.random(shape) < 0.003, rng.choice(LIMITS, shape), q).astype(np.int32)


def grid(rng: np.random.Generator, q: np.ndarray, kind: int) -> dict[str, Any]:
    """One of each kind of grid, which gives all of `q` values."""
    rows, columns = q.shape
    group = [None, 1, max(1, columns // 3), columns][kind % 4]
    groups = 1 if group is None else -(-columns // group)
    scales = np.exp(rng.normal(-3, 1, (rows, groups))).astype(np.float32)
    if kind % 2:
        scales = -scales.astype(np.float16).astype(np.float32)
    zeros = rng.integers(-9, 9, (rows, groups)).astype(np.int32)
    levels = rng.normal(0, 1, 40).astype(np.float32)
    return [
        {"step": float(rng.normal())},
        {"levels": levels, "low": -20},
        {"levels": levels.astype(np.float16).astype(np.float32), "low": -39},
        {"scales": scales, "group": group},
        {"scales": scales, "group": group, "zeros": zeros},
        {"scales": scales, "group": group, "levels": levels, "low": -20},
    ][kind % 6]


def expected(q: np.ndarray, g: dict[str, Any], dtype: np.dtype) -> bytes:
    """Every operation of the formula in float32."""
    each = np.arange(q.shape[1]) // (g.get("group") or q.shape[1])
    value = q.astype(np.float32)
    with np.errstate(all="ignore"):
        if "zeros" in g:
            value = (q - g["zeros"].astype(np.int64)[:, each]).astype(np.float32)
        if "levels" in g:
            value = g["levels"][q - g["low"]]
        if "step" in g:
            value = value * np.float32(g["step"])
        if "scales" in g:
            value = value * g["scales"][:, each]
        return value.astype(dtype).tobytes()


def decoded(q: np.ndarray, coded: Any) -> np.ndarray:
    out = np.empty(q.shape, np.float32)
    decode([Job(coded.header, coded.chunks, out)])
    return out


@settings(max_examples=examples(80))
@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([1, 2, 7, 30]),
    kernels=st.sampled_from([1, 2, 5, 12]),
    period=st.sampled_from([1, 3, 9, 70]),
    spread=st.sampled_from([0.05, 0.4, 1.0, 40.0]),
    kind=st.integers(0, 23),
    dtype=st.sampled_from([F32, F16, BF16, F64]),
)
@example(seed=0, rows=30, kernels=12, period=9, spread=0.4, kind=4, dtype=F32)
def test_any_array_decodes_to_the_formula(
    seed: int, rows: int, kernels: int, period: int, spread: float, kind: int, dtype: np.dtype,
    decode_everywhere: Any,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    q = indices(rng, (rows, kernels * period), spread)
    g = grid(rng, q, kind)
    if "levels" in g:
        q = np.clip(q, g["low"], g["low"] + len(g["levels"]) - 1)
    coded = encode_adaptive(q, dtype=dtype, period=period, **g)
    assert decode_everywhere(coded.header, coded.chunks) == expected(q, g, dtype)


def test_chunks_and_threads_do_not_matter(rng: np.random.Generator) -> None:
    q = np.zeros((3000, 1500), np.int32)
    q[:, ::25] = rng.random((3000, 60)) < 0.2
    coded = encode_adaptive(q, step=0.5, dtype=F32)
    assert coded == encode_adaptive(q, step=0.5, dtype=F32, threads=2)
    assert len(coded.chunks) == 2
    assert coded.nbytes == len(coded.header) + sum(len(chunk) for chunk in coded.chunks)
    assert (decoded(q, coded) == q * np.float32(0.5)).all()


@pytest.mark.parametrize("shape", [(7,), (6, 4), (4, 3, 3, 3), ()])
def test_any_shape_is_rows_of_what_follows_the_first_axis(shape: tuple[int, ...]) -> None:
    q = np.arange(1, 1 + int(np.prod(shape)), dtype=np.int32).reshape(shape)
    coded = encode_adaptive(q, step=2.0, dtype=F32, period=9 if len(shape) == 4 else 1)
    assert (decoded(q, coded) == 2 * q).all()


# --- sizes ------------------------------------------------------------------------------------


def bits(p: np.ndarray) -> float:
    """Entropy of independent bits with these probabilities."""
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())


@pytest.mark.parametrize(("rows", "spread"), [(512, 0.0), (512, 0.5), (2048, 0.5)])
def test_zeros_cost_the_entropy_of_their_rows_and_columns(
    rows: int, spread: float, rng: np.random.Generator
) -> None:
    """90 % zeros, densities a product of one of the row and one of the column: within 2 %."""
    lines = rng.normal(0, spread, (rows, 1)), rng.normal(0, spread, (1, 2048))
    p = np.exp(lines[0] + lines[1])
    p = np.minimum(p * 0.1 / p.mean(), 0.9)
    q = ((rng.random(p.shape) < p) * rng.choice([-1, 1], p.shape)).astype(np.int32)
    entropy = (bits(p) + np.count_nonzero(q)) / 8
    assert encode_adaptive(q, step=1.0, dtype=F32).nbytes < 1.02 * entropy


def test_a_few_live_rows_and_columns_cost_their_own(rng: np.random.Generator) -> None:
    """0.5 % nonzeros in 3 of 10 rows and half the columns: a seventh below a matrix's bytes."""
    live = (rng.random((500, 1)) < 0.3) & (rng.random((1, 800)) < 0.5)
    q = (live & (rng.random((500, 800)) < 0.005 / 0.15)) * rng.choice([-1, 1], (500, 800))
    q = q.astype(np.int32)
    ours = encode_adaptive(q, step=0.1, dtype=F32).nbytes
    matrix = encode_matrix(q, step=0.1, trellis=False, dtype=F32).nbytes
    assert ours < 0.9 * matrix
    assert ours < 0.75 * encode_indices(q, step=0.1, offsets=(0, 0, 0), dtype=F32).nbytes


def test_coarse_noise_costs_no_more_than_as_a_matrix(rng: np.random.Generator) -> None:
    q = np.rint(rng.laplace(0, 0.55, (64, 576))).astype(np.int32)
    matrix = encode_matrix(q, step=0.1, trellis=False, dtype=F32).nbytes
    assert encode_adaptive(q, step=0.1, dtype=F32, period=9).nbytes <= matrix


def test_what_holds_next_to_nothing_costs_next_to_nothing() -> None:
    bias = np.array([[3, -2, 0, 1, 0, -1, 4, 0, 2, -3]], np.int32)
    assert encode_adaptive(bias, step=0.1, dtype=F32).nbytes <= 25
    lone = np.zeros((500, 800), np.int32)
    lone[400, 7] = -1
    assert encode_adaptive(lone, step=0.1, dtype=F32).nbytes <= 40
    assert encode_adaptive(0 * lone + 3, step=0.1, dtype=F32).nbytes <= 20


def test_scales_of_like_size_cost_less_than_their_bytes(rng: np.random.Generator) -> None:
    q = rng.integers(-1, 2, (256, 9)).astype(np.int32)
    scales = np.exp(rng.normal(-4, 0.3, (256, 1))).astype(np.float16).astype(np.float32)
    header = encode_adaptive(q, scales=scales, dtype=F32).header
    assert len(header) < 1.5 * 256


HALVES = [65504.0, 2.0**-24, -(2.0**-14), 0.0, -0.0]  # what float16 holds, its ends among it
WIDER = [65520.0, 65536.0, 1e6, 1e-8, 1e-40, 3.4e38, 2.0**-25]  # and what it does not


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("value", HALVES + WIDER)
@pytest.mark.parametrize("kind", ["levels", "scales"])
def test_numbers_at_the_ends_of_float16_come_back(
    kind: str, value: float, sign: int, decode_everywhere: Any
) -> None:
    q = np.array([[0, 1, 2], [2, 1, 1]], np.int32)
    numbers = np.array([1.0, sign * value, 3.0], np.float32)
    g = {"levels": numbers, "low": 0} if kind == "levels" else {"scales": numbers[:2, None]}
    coded = encode_adaptive(q, dtype=F32, **g)
    assert decode_everywhere(coded.header, coded.chunks) == expected(q, g, F32)
    assert bool(coded.header[9] & 128) == (value in HALVES)  # as float16s


LONGEST = 1 << 20  # values in a row


def test_a_row_of_2_to_the_20_values_is_the_longest(rng: np.random.Generator) -> None:
    """A decoder keeps numbers for each column: thirty bytes of header cannot ask for more."""
    q = np.zeros((1, LONGEST), np.int32)
    q[0, rng.integers(0, LONGEST, 500)] = -7
    q[0, -1] = 3
    coded = encode_adaptive(q, step=0.5, dtype=F32)
    assert decoded_nbytes(coded.header) == 4 * LONGEST
    assert (decoded(q, coded) == q * np.float32(0.5)).all()
    header = coded.header
    sizes = b"\x80\x80\x40"  # 2^20 as it stands in a header, twice: values, and values in a row
    assert header[6:12] == sizes * 2
    longer = header[:6] + b"\x81\x80\x40" * 2 + header[12:]
    with pytest.raises(FormatError, match="rows"):
        decoded_nbytes(longer)
    with pytest.raises(FormatError, match="rows"):
        decode([Job(longer, coded.chunks, np.empty(LONGEST + 1, np.float32))])


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "step, levels or scales"),
        ({"step": 1.0, "levels": np.ones(9, np.float32)}, "neither levels nor scales"),
        ({"step": float("inf")}, "finite"),
        ({"levels": np.ones(3, np.float32)}, "indices -2 .. 3 lie outside the levels 0 .. 2"),
        ({"levels": np.full(9, np.nan, np.float32), "low": -3}, "finite"),
        ({"scales": np.ones((2, 1), np.float32)}, r"\(3, 1\)"),
        ({"scales": np.ones((3, 1))}, "float64"),
        ({"scales": np.ones((3, 1), np.float32), "group": 2}, r"\(3, 2\)"),
        ({"step": 1.0, "group": 2}, "need scales"),
        ({"step": 1.0, "zeros": np.zeros((3, 1), np.int32)}, "give scales"),
        ({"step": 1.0, "period": 3}, "row of 4"),
        ({"step": 1.0, "dtype": np.dtype(np.int8)}, "int8"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    q = np.array([[0, 1, 2, 3], [0, -1, -2, 0], [0, 0, 0, 0]], np.int32)
    with pytest.raises(ArgumentError, match=message):
        encode_adaptive(q, **{"dtype": F32, **given})


def test_its_kind_has_a_name() -> None:
    coded = encode_adaptive(np.array([[1, 0]], np.int32), step=1.0, dtype=F32)
    assert _core.inspect(np.frombuffer(coded.header, np.uint8))["kind"] == "adaptive"
