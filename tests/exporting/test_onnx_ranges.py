"""Ranges of activations: what each way keeps of a distribution and what it lets go."""

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.exporting.onnx.ranges import RangeHistogram, affine, find_range, observe


def seen(values):
    """The histogram of values, through two batches."""
    halves = [{"x": part} for part in np.array_split(values, 2)]
    return observe(halves, ["x"], lambda feed, names: [feed["x"]])["x"]


@pytest.fixture(scope="module")
def tailed():
    """A unit normal, and two values far out."""
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    return np.concatenate([values, [60.0, -50.0]]).astype(np.float32)


def test_minmax_keeps_all_and_percentile_drops_the_far_ones(tailed):
    histogram = seen(tailed)
    assert find_range(histogram, "minmax", 255) == (-50.0, 60.0)
    low, high = find_range(histogram, "percentile", 255)
    assert -4.5 < low < -3.5 and 3.5 < high < 4.5


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy"])
def test_mse_has_the_least_error_of_all(tailed, ranges):
    def error(kind):
        scale, zero = affine(*find_range(seen(tailed), kind, 15), 15)
        q = np.clip(np.rint(tailed / scale) + zero, 0, 15)
        return float(np.square((q - zero) * scale - tailed).mean())

    assert error("mse") <= error(ranges) * 1.05


def test_entropy_keeps_the_bulk_of_what_a_relu_gives(tailed):
    histogram = seen(np.maximum(tailed, 0))
    low, high = find_range(histogram, "entropy", 255)
    assert low == 0 and 3 < high < 60


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 6), (-2, 0), (0, 0)])
def test_zero_is_exactly_one_of_the_steps(low, high):
    scale, zero = affine(low, high, 255)
    assert 0 <= zero <= 255 and scale > 0
    assert (np.rint(0 / scale) + zero - zero) * scale == 0


def test_values_that_are_always_zero_have_a_range(tailed):
    histogram = seen(np.zeros(10, np.float32))
    for ranges in ("minmax", "percentile", "mse", "entropy"):
        low, high = find_range(histogram, ranges, 255)
        assert low <= 0 <= high and np.isfinite(affine(low, high, 255)[0])


def test_no_batch_and_no_number_are_errors():
    with pytest.raises(ArgumentError, match="at least one batch"):
        observe([], ["x"], lambda feed, names: [feed["x"]])
    with pytest.raises(ArgumentError, match="not finite"):
        seen(np.array([1, np.inf], np.float32))
    assert isinstance(seen(np.ones(3, np.float32)), RangeHistogram)
