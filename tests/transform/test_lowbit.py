"""Runtime grids: least squared error by brute force, exact zeros, scales that a file holds well."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.errors import ArgumentError
from taut.transform import Grid, binary, fp8, integers, ternary

F4 = np.dtype(np.float32)


def error(weights, grid, importance=1.0):
    missed = np.asarray(weights, np.float64) - grid.values(F4)
    return float(np.sum(importance * missed * missed))


@settings(max_examples=examples(50))
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12), weighed=st.booleans())
def test_no_threshold_and_scale_beat_ternary(seed, count, weighed):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(count).astype(np.float32)
    h = rng.random(count) + 0.01 if weighed else np.ones(count)
    best = np.inf
    for threshold in np.abs(w):  # with the support given, the best scale is the weighted mean
        support = np.abs(w) >= threshold
        scale = np.sum((h * np.abs(w))[support]) / np.sum(h[support])
        best = min(best, float(np.sum(h * np.square(w - np.where(support, scale * np.sign(w), 0)))))
    found = ternary(w, importance=h if weighed else None)
    assert error(w, found, h) <= best * (1 + 1e-5) + 1e-9


def test_binary_is_the_mean_magnitude_and_knows_no_zero_but_the_masks():
    w = np.array([[1.0, -3.0, 0.0, 4.0]])
    assert binary(w).values(F4).tolist() == [[2.0, -2.0, 2.0, 2.0]]
    mask = np.array([[True, True, False, True]])
    third = np.float32(8 / 3)
    assert binary(w, mask=mask).values(F4).tolist() == [[third, -third, 0.0, third]]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [None, 16])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_integers_fit_their_bits_and_clipping_helps(rng, bits, group, asymmetric):
    w = rng.standard_normal((6, 64)).astype(np.float32) + 0.5
    whole = integers(w, bits, group=group, asymmetric=asymmetric, clip=False)
    best = integers(w, bits, group=group, asymmetric=asymmetric)
    runs = best.indices.reshape(6, -1, group or 64)
    if asymmetric:
        assert np.ptp(runs, axis=2).max() <= 2**bits - 1
        assert runs.min(axis=2).max() <= 0 <= runs.max(axis=2).min()  # zero is on every grid
    else:
        assert runs.min() >= max(-(2 ** (bits - 1)), -127) and runs.max() < 2 ** (bits - 1)
        assert bits > 4 or runs.min() == -(2 ** (bits - 1)) or runs.max() == 2 ** (bits - 1) - 1
    assert error(w, best) <= error(w, whole)
    if bits == 2 and not asymmetric:
        assert error(w, best) < 0.8 * error(w, whole)


def test_without_clipping_nothing_is_off_by_more_than_half_a_step(rng):
    w = rng.standard_normal((5, 40)).astype(np.float32)
    for asymmetric in (False, True):
        grid = integers(w, 4, group=8, asymmetric=asymmetric, clip=False)
        # An asymmetric zero point is rounded, so that an end may be cut by half a step more.
        most = (1.01 if asymmetric else 0.501) * np.repeat(grid.scales, 8, axis=1)
        assert np.all(np.abs(w - grid.values(F4)) <= most)


@pytest.mark.parametrize(
    "make",
    [
        lambda w, **k: ternary(w, **k),
        lambda w, **k: binary(w, **k),
        lambda w, **k: integers(w, 4, asymmetric=True, **k),
        lambda w, **k: integers(w, 8, **k),
    ],
)
def test_coarse_scales_are_sixteenths_of_an_octave_and_cost_little(rng, make):
    w = rng.standard_normal((8, 32)).astype(np.float32)
    mask = rng.random((8, 32)) < 0.5
    coarse, exact = make(w, mask=mask, fraction=4), make(w, mask=mask)
    sixteenths = 16 * np.log2(coarse.scales.astype(np.float64))
    assert np.abs(sixteenths - np.round(sixteenths)).max() < 1e-4
    assert error(w * mask, coarse) < 1.3 * error(w * mask, exact)
    assert np.all(coarse.indices[~mask] == 0) and np.all(exact.values(F4)[~mask] == 0)


def test_fp8_holds_three_bits_of_mantissa_of_everything_near_the_largest(rng):
    w = (rng.standard_normal((7, 50)) * np.exp(4 * rng.standard_normal((7, 1)))).astype(np.float32)
    found = fp8(w)
    values = found.values(F4)
    near = np.abs(w) > np.abs(w).max(axis=1, keepdims=True) * 2.0**-13
    assert np.all(np.abs(values - w)[near] <= np.abs(w)[near] * 2.0**-4)
    assert np.array_equal(np.frexp(found.scales)[0], np.full((7, 1), 0.5))
    eighths = (values / found.scales).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    assert np.array_equal(eighths * found.scales, values)  # a runtime's fp8 holds them exactly
    assert np.array_equal(fp8(np.zeros((2, 3))).values(F4), np.zeros((2, 3)))


def test_a_row_of_zeros_stays_one():
    w = np.array([[0.0, 0.0], [1.0, -2.0]])
    for grid in (ternary(w), integers(w, 4), integers(w, 4, asymmetric=True), fp8(w)):
        assert grid.values(F4)[0].tolist() == [0.0, 0.0]
        assert np.all(grid.scales > 0)


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match=r"a group of 64 does not divide 27 columns.*: 27"):
        integers(np.ones((2, 3, 3, 3)), 4, group=64)
    with pytest.raises(ArgumentError, match="9 bits; give 2 to 8"):
        integers(np.ones((2, 2)), 9)
    with pytest.raises(ArgumentError, match="no values to fit a scale to"):
        ternary(np.empty((0, 4)))


def test_grids_decode_as_the_contract_says():
    q = np.array([[0, 5, -3], [2, 2, 2]], np.int32)
    scales = np.array([[0.5, 2.0], [1.0, 4.0]], np.float32)
    zeros = np.array([[1, 0], [2, 2]], np.int32)
    grid = Grid(q, scales=scales, zeros=zeros, group=2)
    assert grid.values(F4).tolist() == [[-0.5, 2.0, -6.0], [0.0, 0.0, 0.0]]
    table = Grid(q, levels=np.arange(9, dtype=np.float32) ** 2, low=-3, scales=scales, group=2)
    assert table.values(F4).tolist() == [[4.5, 32.0, 0.0], [25.0, 25.0, 100.0]]
    assert Grid(q, step=0.1).values(np.dtype(np.float64))[0, 1] == np.float64(np.float32(0.5))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "give step, or levels"),
        ({"step": 1.0, "scales": np.ones((2, 1), np.float32)}, "give step, or levels"),
        ({"levels": np.ones(3, np.float32)}, "indices -1 to 2 lie outside the levels 0 to 2"),
        ({"scales": np.ones((2, 2), np.float32)}, r"need \(2, 1\)"),
        ({"step": 1.0, "group": 2}, "zeros and group go with scales"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ArgumentError, match=message):
        Grid(np.array([[0, 1], [2, -1]], np.int32), **parts)


@pytest.mark.parametrize("values", [[1e-45, 0.0, -1e-45, 0.0], [0.0, 0.0, 0.0, 0.0]])
def test_values_too_small_for_a_scale_are_zeros(values):
    with np.errstate(all="raise", under="ignore"):
        grid = integers(np.array([values], np.float32), 4)
    assert not grid.indices.any() and (grid.scales > 0).all()
