"""Indices of a uniform quantiser decode to the numbers that a formula in plain numpy gives."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import Effort, encode_indices
from taut.coding.coder import estimate_indices
from taut.errors import ArgumentError

OUTPUTS = [np.dtype(t) for t in (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)]
LIMITS = np.array(
    [-(2**31), 2**31 - 1, -129, -128, -127, 126, 127, 128, 65537, 2**24 + 1], np.int32
)


def expected(q: np.ndarray, step: float, offsets: tuple[float, ...], dtype: np.dtype) -> bytes:
    """sign(q) * (|q| - offset) * step with every product and the difference in float32."""
    by = {level: np.float32(np.float32(o) * np.float32(step)) for level, o in enumerate(offsets, 1)}
    value = q.astype(np.float32) * np.float32(step)
    for level in (1, 2, 3):
        for sign in (1, -1):
            here = (q * sign >= level) if level == 3 else (q == sign * level)
            value[here] -= np.float32(sign) * by[level]
    value[q == 0] = 0  # not -0.0, whatever the sign of the step
    with np.errstate(over="ignore"):
        return value.astype(dtype).tobytes()


def indices(rng: np.random.Generator, shape: tuple[int, int], outliers: float) -> np.ndarray:
    spread = np.exp(rng.uniform(-2, 3, (shape[0], 1)))
    q = np.rint(rng.normal(0, 1, shape) * spread).astype(np.int64)
    q = np.where(rng.random(shape) < outliers, rng.choice(LIMITS, shape), q)
    return q.astype(np.int32)


def check(
    q: np.ndarray, step: float, offsets: tuple[float, float, float], dtype: np.dtype,
    effort: Effort, decode_everywhere: Any,
) -> None:  # fmt: skip
    coded = encode_indices(q, step=step, offsets=offsets, dtype=dtype, effort=effort)
    wide = q.astype(np.int64).reshape(-1)
    with np.errstate(over="ignore"):
        assert decode_everywhere(coded.header, coded.chunks) == expected(wide, step, offsets, dtype)


OFFSET = st.floats(-0.5, 0.5, width=32)


@settings(max_examples=examples(100))
@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([1, 2, 7, 40]),
    row_length=st.sampled_from([1, 5, 64, 300, 1025]),
    outliers=st.sampled_from([0.0, 0.001, 0.5]),
    step=st.floats(0.0, 2.0**100, width=32),
    offsets=st.tuples(OFFSET, OFFSET, OFFSET),
    dtype=st.sampled_from(OUTPUTS),
    effort=st.sampled_from(["fast", "max"]),
)
@example(
    seed=0, rows=7, row_length=300, outliers=0.5, step=2.0**-149, offsets=(0.5, 0.5, 0.5),
    dtype=OUTPUTS[1], effort="max",
)  # fmt: skip
@example(
    seed=1, rows=7, row_length=300, outliers=0.5, step=1e-7, offsets=(0.1, 0.05, 0.02),
    dtype=OUTPUTS[1], effort="fast",
)  # fmt: skip
@example(
    seed=2, rows=7, row_length=300, outliers=0.5, step=2.0**100, offsets=(0.1, 0.05, 0.02),
    dtype=OUTPUTS[2], effort="fast",
)  # fmt: skip
def test_any_indices_decode_to_the_formula(
    seed: int, rows: int, row_length: int, outliers: float, step: float,
    offsets: tuple[float, float, float], dtype: np.dtype, effort: Effort, decode_everywhere: Any,
) -> None:  # fmt: skip
    q = indices(np.random.default_rng(seed), (rows, row_length), outliers)
    check(q, step, offsets, dtype, effort, decode_everywhere)


@pytest.mark.parametrize("dtype", OUTPUTS)
@pytest.mark.parametrize("outliers", [0, 0.0005])
def test_the_fast_coder_decodes_to_the_formula(
    dtype: np.dtype, outliers: float, rng: np.random.Generator, decode_everywhere: Any
) -> None:
    q = indices(rng, (211, 257), outliers)
    check(q, 0.0123, (0.06, 0.03, 0.01), dtype, "fast", decode_everywhere)


def test_every_float16_is_rounded_to_nearest_even(decode_everywhere: Any) -> None:
    """Multiples of half a unit in the last place, of all sizes: ties, overflow, denormals."""
    ties = np.arange(-4097, 4098, dtype=np.int32).reshape(5, -1)
    for exponent in (-26, -25, -24, -14, 0, 3, 4, 5):
        check(ties, 2.0**exponent, (0, 0, 0), OUTPUTS[1], "max", decode_everywhere)
    for exponent in (-135, -127, 0, 115, 116):
        check(ties, 2.0**exponent, (0, 0, 0), OUTPUTS[2], "max", decode_everywhere)


@pytest.mark.parametrize("effort", ["fast", "max"])
def test_the_estimate_is_near_and_threads_do_not_matter(
    effort: Effort, rng: np.random.Generator
) -> None:
    q = indices(rng, (600, 1000), 0)
    settings = {"step": 0.1, "offsets": (0.1, 0.05, 0.0), "dtype": OUTPUTS[0], "effort": effort}
    coded = encode_indices(q, **settings)
    assert encode_indices(q, **settings, threads=2) == coded
    assert estimate_indices(q, effort=effort) == pytest.approx(coded.nbytes, rel=0.005)
    assert _core.inspect(np.frombuffer(coded.header, np.uint8))["tables"] >= 2


def test_other_outputs_are_refused() -> None:
    with pytest.raises(
        ArgumentError, match="int8; give one of float32, float16, bfloat16, float64"
    ):
        encode_indices(
            np.zeros((1, 1), np.int32), step=1.0, offsets=(0, 0, 0), dtype=np.dtype(np.int8)
        )
