"""Packed codes are coded as what they are, and only where that takes less."""

from __future__ import annotations

from math import prod

import ml_dtypes
import numpy as np
import pytest

from taut.coding import Job, decode, encode_lossless
from taut.coding.packed_codes import encode_bits, record_layout


def codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(np.rint(rng.normal(8, 2, shape)), 0, 15).astype(np.uint8)


def entropy(q: np.ndarray) -> float:
    share = np.bincount(q.reshape(-1)) / q.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() * q.size / 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.int8])
def test_two_codes_a_byte_cost_their_entropy(rng, dtype):
    q = codes(rng, (300, 1024))
    packed = (q[:, ::2] | q[:, 1::2] << 4).view(dtype)
    coded = encode_bits(packed, effort="fast")
    assert coded.nbytes < 1.006 * entropy(q) + 300
    out = np.empty_like(packed)
    decode([Job(coded.header, coded.chunks, out)])
    assert np.array_equal(out, packed)


def test_the_bytes_of_fp8_are_not_taken_apart(rng):
    values = rng.normal(0, 30, (200, 512)).astype(ml_dtypes.float8_e4m3fn)
    coded = encode_bits(values, effort="fast")
    assert coded.nbytes < 1.01 * entropy(values.view(np.uint8)) + 400


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_])
def test_other_dtypes_stay_words(rng, dtype):
    values = rng.normal(0, 30, (64, 256)).astype(dtype)
    flat = values.reshape(-1)
    assert record_layout(lambda a, b: flat[a:b], values.shape, values.dtype, "fast") is None


def test_whole_numbers_stay_words(rng):
    values = rng.integers(0, 50_000, (64, 256)).astype(np.int32)
    assert encode_bits(values, effort="fast").nbytes == encode_lossless(values).nbytes


@pytest.mark.parametrize("shape", [(1,), (3, 7), (2_000_003,), (1, 1_200_000), (5, 3, 333)])
def test_any_shape_comes_back(rng, shape):
    values = codes(rng, shape)
    coded = encode_bits(values, effort="max")
    out = np.empty_like(values)
    decode([Job(coded.header, coded.chunks, out)])
    assert np.array_equal(out, values)
    assert coded.nbytes <= prod(shape) + 64
