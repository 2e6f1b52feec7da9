"""Distributions against numpy on whole arrays; entropies against theory and against counting."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.analysis.statistics import (
    ERRORS,
    bound_at,
    describe,
    entropy_bounds,
    sample,
    step_for_bits,
    step_for_error,
)


def test_a_distribution_is_that_of_the_whole_array(rng: np.random.Generator) -> None:
    values = rng.standard_t(5, (300, 700)).astype(np.float32) + 1  # several blocks
    found = describe(values)
    wide = values.astype(np.float64)
    assert found is not None
    assert (found.least, found.largest) == (wide.min(), wide.max())
    assert found.mean == pytest.approx(wide.mean(), rel=1e-9)
    assert found.std == pytest.approx(wide.std(), rel=1e-9)
    assert found.rms == pytest.approx(math.sqrt(np.mean(wide**2)), rel=1e-9)
    fourth = np.mean((wide - wide.mean()) ** 4)
    assert found.kurtosis == pytest.approx(fourth / wide.var() ** 2, rel=1e-9)
    assert found.outlier == pytest.approx(abs(wide).max() / found.rms, rel=1e-9)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    values = np.array([[np.nan, 3, -np.inf], [np.inf, np.nan, 0], [-3, 0, np.nan]], np.float16)
    found = describe(values)
    assert found is not None
    assert (found.nans, found.infinities, found.zeros) == (3, 2, 2)
    assert (found.least, found.largest, found.mean) == (-3, 3, 0)
    assert found.rms == pytest.approx(math.sqrt(18 / 4))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, ml_dtypes.bfloat16, np.float64])
def test_every_kind_of_number_is_described(dtype: type) -> None:
    found = describe(np.array([0, 1, 1, 1]).astype(dtype))
    assert found is not None
    assert (found.zeros, found.largest, found.mean) == (1, 1, 0.75)


def test_a_complex_number_counts_as_two() -> None:
    found = describe(np.array([1 + 0j, 2 - 5j], np.complex64))
    assert found is not None
    assert (found.least, found.largest, found.zeros) == (-5, 2, 1)


def test_squares_of_huge_and_tiny_values_neither_overflow_nor_vanish() -> None:
    for scale in (1e300, 1e-300):
        found = describe(np.array([1.0, -1.0, 2.0, -2.0]) * scale)
        assert found is not None
        assert found.rms == pytest.approx(math.sqrt(2.5) * scale)
        assert found.kurtosis == pytest.approx(17 * 2 / 4 / 2.5**2)


def test_nothing_and_constants_have_no_spread() -> None:
    assert describe(np.zeros((0, 4))) is None
    found = describe(np.full(1000, 0.1, np.float32))
    assert found is not None
    assert found.std == pytest.approx(0, abs=1e-9)
    assert (found.kurtosis, found.outlier) == (0, pytest.approx(1))
    alone = describe(np.array([np.nan]))
    assert alone is not None
    assert (alone.nans, alone.rms) == (1, 0)


def test_gaussian_bounds_lie_a_quarter_bit_above_the_rate_distortion_function() -> None:
    values = np.random.default_rng(1).standard_normal(1 << 16)
    by_error = dict(zip(ERRORS, entropy_bounds(values), strict=True))
    for error in (0.01, 0.001, 0.0001):
        bound = by_error[error]
        assert bound.rel_mse == pytest.approx(error, rel=0.02)
        # Gish and Pierce 1968: log2(2 pi e / 12) / 2 = 0.2546 bit above log2(1 / D) / 2.
        assert bound.bits - 0.5 * math.log2(1 / bound.rel_mse) == pytest.approx(0.2546, abs=0.01)


def test_bounds_ask_for_more_bits_as_less_may_be_lost(rng: np.random.Generator) -> None:
    bits = [bound.bits for bound in entropy_bounds(rng.laplace(size=(64, 512)))]
    assert bits == sorted(bits)
    assert len(bits) == len(ERRORS)


def test_values_on_a_grid_cost_their_entropy_however_little_may_be_lost(
    rng: np.random.Generator,
) -> None:
    ternary = rng.choice([-1.0, 0, 1], p=[0.25, 0.5, 0.25], size=(200, 300))
    assert entropy_bounds(ternary)[-1].bits == pytest.approx(1.5, abs=0.01)
    assert entropy_bounds(np.zeros((9, 9))) == ()


@given(st.floats(0.5, 7), st.integers(0, 9))
def test_a_step_gives_the_bits_it_was_asked_for(bits: float, seed: int) -> None:
    picks = np.random.default_rng(seed).standard_normal(1 << 14) * 10.0**seed
    assert bound_at(picks, step_for_bits(picks, bits)).bits == pytest.approx(bits, abs=0.02)


@given(st.floats(1e-5, 0.5))
def test_a_step_gives_the_error_it_was_asked_for(error: float) -> None:
    picks = np.random.default_rng(3).laplace(size=1 << 14)
    found = bound_at(picks, step_for_error(picks, error)).rel_mse
    assert found == pytest.approx(error, rel=0.02)


def test_a_sample_has_no_period(rng: np.random.Generator) -> None:
    # One column of a thousand holds all there is: rows of any length must be hit in every column.
    values = np.zeros((1024, 1024), np.float32)
    values[:, 7] = 1
    assert sample(values, 1 << 14).mean() == pytest.approx(1 / 1024, rel=0.2)
    assert np.isfinite(sample(np.array([1.0, np.inf, np.nan]))).all()
