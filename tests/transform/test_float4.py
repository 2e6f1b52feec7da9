"""NVFP4 and MXFP4: levels, scales of their own dtypes, and codes that are found again."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.scheme import Scheme
from taut.transform.float4 import GROUPS, LEVELS, LOW, codes_of, float4, shared_exponent
from taut.transform.rounding import factor_forms
from taut.transform.runtime import calibrated_grid, make_grid

KINDS = ("nvfp4", "mxfp4")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_codes_are_found_again_in_any_dtype(rng, kind, dtype):
    weights = (rng.normal(0, 0.02, (40, 96)) * rng.uniform(0.1, 3, (40, 1))).astype(dtype)
    weights[3, :32] = 0
    values = float4(weights, kind).values(np.dtype(dtype))
    codes = codes_of(values, kind)
    assert codes is not None
    scales = np.ldexp(codes.scales.astype(np.float32), codes.exponent)
    found = LEVELS[codes.indices - LOW] * np.repeat(scales, GROUPS[kind], 1)
    assert np.array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_other_values_have_no_codes(rng, kind):
    assert codes_of(rng.normal(0, 1, (8, 32)), kind) is None


def test_scales_are_those_of_the_formats(rng):
    weights = rng.normal(0, 0.02, (64, 128))
    powers = float4(weights, "mxfp4").scales
    assert np.array_equal(np.exp2(np.rint(np.log2(powers))), powers)
    scales = float4(weights, "nvfp4").scales
    small = np.ldexp(scales, -shared_exponent(scales))
    assert small.max() <= 448
    assert np.array_equal(small.astype(ml_dtypes.float8_e4m3fn).astype(np.float32), small)


def test_the_error_is_that_of_four_bits(rng):
    weights = rng.normal(0, 1, (64, 512)).astype(np.float32)
    lost = {k: np.square(float4(weights, k).values(np.dtype("f4")) - weights).mean() for k in KINDS}
    assert 0.005 < lost["nvfp4"] < 0.0095  # 0.0088 with the scale that covers all
    assert lost["nvfp4"] < lost["mxfp4"] < 0.015


@pytest.mark.parametrize("kind", KINDS)
def test_feedback_makes_good_what_is_lost(rng, kind):
    base = rng.normal(0, 1, (256, 64))
    inputs = base + 2 * base[:, :1]
    moments = inputs.T @ inputs / len(inputs)
    weights = rng.normal(0, 0.05, (48, 64)).astype(np.float32)
    metric = factor_forms(np.ones(48), moments)
    near = make_grid(weights, Scheme(kind)).values(np.dtype("f4")) - weights
    fed = calibrated_grid(weights, Scheme(kind), metric).values(np.dtype("f4")) - weights
    cost = [float(np.einsum("ij,jk,ik->", e, moments, e)) for e in (near, fed)]
    assert cost[1] < 0.8 * cost[0]


def test_a_group_must_divide_the_columns():
    with pytest.raises(ArgumentError, match="32 does not divide 40"):
        make_grid(np.ones((4, 40)), Scheme("mxfp4"))
