"""Bits that an index is taken to cost: near the truth where indices are likely."""

import numpy as np
import pytest

from taut.transform.rates import HALF_OCTAVES, rate_curves


def bits(curve, q):
    return np.where(q == 0, curve[0], curve[1] + (q - 1) * (curve[2] + (q - 1) * curve[3]))


@pytest.mark.parametrize("half", [0, 2, 4, 6])
def test_a_curve_tells_what_an_ideal_coder_would_take(rng, half):
    """Of a mixture of Gaussian and Laplacian values, up to twice their scale."""
    scale = 2.0 ** (half / 2)
    values = np.concatenate([rng.normal(size=60_000), rng.laplace(size=40_000) / np.sqrt(2)])
    indices = np.abs(np.round(values * scale))
    curve = rate_curves(False)[list(HALF_OCTAVES).index(half), 0]
    for q in range(min(8, int(2 * scale) + 1)):
        true = -np.log2(np.mean(indices == q) / (1 if q == 0 else 2))
        assert bits(curve, np.array(q)) == pytest.approx(true, abs=0.35)


@pytest.mark.parametrize("trellis", [False, True])
def test_the_larger_the_scale_the_dearer_is_zero(trellis):
    zero = rate_curves(trellis)[:, :, 0]
    assert (np.diff(zero, axis=0) >= 0).all()
    assert (np.diff(zero[2:], axis=0) > 0).all()  # of scales below an eighth of a level all is zero
    assert zero.min() >= 0


def test_curves_do_not_fall_where_indices_are_likely():
    """From 2 on: the odd quantiser's 1 has a narrower cell, so that it is dearer."""
    for curve, half in zip(rate_curves(True), HALF_OCTAVES, strict=True):
        q = np.arange(2, max(3, min(7, int(2.0 ** (half / 2)))))
        for quantiser in (0, 1):
            assert (np.diff(bits(curve[quantiser], q)) > -0.1).all()
