"""What the coder takes, against entropies computed from the distribution, not from the coder."""

from math import erf, sqrt

import ml_dtypes
import numpy as np
import pytest

from taut.coding import Effort, encode_indices, encode_lossless


def normal_entropy(dtype: np.dtype) -> float:
    """Bits of a standard normal number rounded to a 16-bit float: -sum p log2 p over all floats."""
    positive = np.arange(0x8000, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):
        positive = positive[np.isfinite(positive)].astype(np.float64)
    edges = np.concatenate([[0], (positive[1:] + positive[:-1]) / 2, [np.inf]])
    distribution = np.array([erf(e / sqrt(2)) for e in edges])  # of the magnitude
    p = np.diff(distribution)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum()) + 1  # and the sign


@pytest.mark.parametrize(
    ("dtype", "effort", "most"),
    [
        (ml_dtypes.bfloat16, "fast", 1.015),
        (ml_dtypes.bfloat16, "max", 1.004),
        (np.float16, "fast", 1.010),
        (np.float16, "max", 1.005),
    ],
)
def test_normal_weights_take_their_entropy(
    dtype: type, effort: Effort, most: float, rng: np.random.Generator
) -> None:
    values = rng.standard_normal((1000, 1000)).astype(dtype)
    bits = 8 * encode_lossless(values, effort=effort).nbytes / values.size
    assert 0.998 < bits / normal_entropy(np.dtype(dtype)) < most


@pytest.mark.parametrize("effort", ["fast", "max"])
def test_indices_take_their_entropy(effort: Effort, rng: np.random.Generator) -> None:
    q = np.rint(rng.standard_normal((1000, 1000)) / 0.6).astype(np.int32)
    p = np.unique(q, return_counts=True)[1] / q.size
    entropy = float(-(p * np.log2(p)).sum())
    coded = encode_indices(
        q, step=0.6, offsets=(0, 0, 0), dtype=np.dtype(np.float32), effort=effort
    )
    assert 8 * coded.nbytes / q.size < entropy * (1.003 if effort == "max" else 1.015)


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8", "i8"])
def test_noise_grows_by_a_header(dtype: str, effort: Effort, rng: np.random.Generator) -> None:
    for size in (40, 8_000, 80_000, 800_000):
        values = np.frombuffer(rng.bytes(size), dtype)
        assert encode_lossless(values, effort=effort).nbytes <= size + 16


def test_a_constant_is_a_header() -> None:
    for values in (np.zeros((1000, 1000), np.float32), np.full(10**6, np.nan), np.ones(70, bool)):
        assert encode_lossless(values).nbytes < 32


def test_float32_that_is_float16_costs_what_float16_costs(rng: np.random.Generator) -> None:
    half = rng.normal(0, 0.05, (500, 400)).astype(np.float16)
    single = encode_lossless(half.astype(np.float32), effort="max").nbytes
    assert single < 1.02 * encode_lossless(half, effort="max").nbytes


def test_zeros_of_a_sparse_array_cost_their_entropy(rng: np.random.Generator) -> None:
    values = rng.standard_normal((500, 1000)).astype(np.float32)
    dense = encode_lossless(values[:50], effort="max").nbytes
    kept = rng.random(values.shape) < 0.1
    where = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) / 8 * values.size
    values[~kept] = 0
    assert encode_lossless(values, effort="max").nbytes < 1.01 * (dense + where)


def test_rows_of_their_own_scale_pay_for_their_class(rng: np.random.Generator) -> None:
    """Four scales mixed cost the scales' average, not the mixture's entropy."""
    values = rng.standard_normal((2000, 256)).astype(ml_dtypes.bfloat16).astype(np.float32)
    plain = encode_lossless(values.astype(ml_dtypes.bfloat16), effort="max").nbytes
    mixed = values * np.repeat(2.0 ** -np.arange(0, 40, 10), 500)[rng.permutation(2000), None]
    assert encode_lossless(mixed.astype(ml_dtypes.bfloat16), effort="max").nbytes < 1.01 * plain
