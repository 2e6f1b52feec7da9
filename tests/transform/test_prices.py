"""Prices found by rounding, counting, and rounding again: what an ideal coder would ask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import estimate_matrix
from taut.transform import quantize_matrix
from taut.transform._reference_rounding import count_reference
from taut.transform.forms import Factor
from taut.transform.prices import chances, fitted, refit, settled
from taut.transform.rates import COUNTED, HALF_OCTAVES, bits_of, model_bits, starting_curves
from taut.transform.steps import Steps

ONE = list(HALF_OCTAVES).index(0)  # the class of scale 1


@settings(max_examples=examples(30))
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 40),
    most=st.sampled_from([1, 5, 200, 32767]),
    trellis=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_the_native_count_is_the_numpy_one(rows, columns, most, trellis, seed):
    rng = np.random.default_rng(seed)
    indices = rng.integers(-most, most, (rows, columns), np.int16, endpoint=True)
    classes = [rng.integers(0, 4, size, np.uint8) for size in (rows, columns)]
    found = np.zeros((5, 2, COUNTED), np.int64)
    _core.count_magnitudes(indices.reshape(-1), *classes, trellis, found.reshape(-1))
    expected = count_reference(indices, *classes, curves=5, counted=COUNTED, trellis=trellis)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 40, 48, 96])
def test_counts_of_another_shape_are_told(size):
    one, out = np.zeros(1, np.uint8), np.zeros(size, np.int64)
    if size % 48 or not size:
        with pytest.raises(ValueError):
            _core.count_magnitudes(np.zeros(1, np.int16), one, one, True, out)
    else:
        _core.count_magnitudes(np.zeros(1, np.int16), one, one, True, out)
        assert out.sum() == out[0] == 1


def test_prices_are_the_logarithms_of_shares():
    counts = np.zeros((len(HALF_OCTAVES), 2, COUNTED), np.int64)
    counts[ONE, 0, :4] = np.array([600, 300, 90, 10]) * 1000
    bits = bits_of(refit(counts, chances(model_bits(True))))[ONE, 0]
    assert bits[0] == pytest.approx(-math.log2(0.6), abs=0.01)
    assert bits[1] == pytest.approx(1 - math.log2(0.3), abs=0.05)
    assert bits[2] == pytest.approx(1 - math.log2(0.09), abs=0.1)


def test_what_never_occurred_costs_much_and_not_everything():
    counts = np.zeros((len(HALF_OCTAVES), 2, COUNTED), np.int64)
    counts[:, :, 0] = 1 << 40
    bits = bits_of(refit(counts, chances(model_bits(True))))
    assert (bits[..., 0] < 0.01).all()
    assert np.isfinite(bits).all()
    assert bits[..., 1].min() > 10 and bits[..., 1].max() < 20


@pytest.mark.parametrize("trellis", [False, True])
def test_settled_prices_are_kept_by_lambda(trellis):
    assert settled(trellis, 0.4) is settled(trellis, 0.41)
    assert (settled(trellis, 0.4) != settled(trellis, 0.1)).any()
    assert np.isfinite(settled(trellis, 0.4)).all()


def test_without_a_price_on_bits_nothing_is_fitted(rng):
    values = rng.standard_normal((8, 16)).astype(np.float32)
    steps = _steps(values, 0.5)
    np.testing.assert_array_equal(fitted(values, steps, 0.0, trellis=True), starting_curves(True))


def test_prices_follow_the_matrix_at_hand(rng):
    """Where most weights are zeros, a zero is cheaper than among weights of one bell curve."""
    gaussian = rng.standard_normal((64, 256)).astype(np.float32)
    spikes = np.where(rng.random(gaussian.shape) < 0.9, 0, gaussian * np.float32(10**0.5))
    zero = [
        bits_of(fitted(v.astype(np.float32), _steps(v, 1.0), 0.25, trellis=False))[:, 0, 0]
        for v in (gaussian, spikes)
    ]
    assert zero[1][ONE] < zero[0][ONE] - 0.3


@pytest.mark.parametrize(("step", "most"), [(1.5, 0.14), (0.9, 0.125), (0.45, 0.115)])
def test_a_gaussian_is_rounded_near_the_bound(rng, step, most):
    """Bits above half the log of 1 / D; without fitted prices .15 and more at the first two."""
    values = rng.standard_normal((256, 512)).astype(np.float32)
    found = quantize_matrix(values, step)
    bits = 8 * estimate_matrix(found.indices, trellis=True) / values.size
    error = float(np.mean(np.square(values - found.decoded)))
    assert 0 < bits + 0.5 * math.log2(error) < most


def _steps(values: np.ndarray, step: float) -> Steps:
    rows, columns = (Factor(np.ones(count), None, 0.0) for count in values.shape)
    return Steps(values.astype(np.float32), rows, (columns,), step, False)
