"""Integer grids: that what is stored is what came back, and that its bytes are honest."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.frontier.fixed import Grid, pack, round_matrix, round_model

RNG = np.random.default_rng(1)


def unpacked(stored: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Read `count` levels back, a bit at a time."""
    stream = np.unpackbits(stored)[: count * bits].reshape(count, bits)
    return stream @ (1 << np.arange(bits)[::-1])


@pytest.mark.parametrize("zero", ["middle", "packed", "half"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_a_matrix_comes_back_from_its_stored_parts_alone(zero, bits):
    grid = Grid(bits, 32, zero)
    weights = RNG.standard_normal((6, 80)).astype(np.float32)  # the last group has 16 columns
    values, stored = round_matrix(weights, grid)
    levels = unpacked(stored["levels"], bits, weights.size).reshape(weights.shape)
    scales = stored["scales"].astype(np.float64)
    assert scales.shape == (6, 3)
    if zero == "half":
        offset = stored["zeros"].astype(np.float64)
    else:
        zeros = unpacked(stored["zeros"], bits, 18) if zero == "packed" else 1 << (bits - 1)
        offset = -np.broadcast_to(zeros, (18,)).reshape(6, 3) * scales
    group = np.arange(80) // 32
    np.testing.assert_allclose(values, levels * scales[:, group] + offset[:, group], atol=1e-5)


@pytest.mark.parametrize("zero", ["middle", "packed", "half"])
def test_no_value_is_further_off_than_half_a_step_and_what_float16_takes(zero):
    grid = Grid(4, 0, zero)
    weights = RNG.uniform(-1, 1, (20, 300)).astype(np.float32)
    values, stored = round_matrix(weights, grid)
    step = stored["scales"].astype(np.float32)
    # A zero point that must be a level moves the ends by up to half a step.
    reach = 1.0 if zero == "packed" else 0.5
    assert np.all(np.abs(values - weights) <= reach * step + 2e-3)


def test_groups_cost_what_the_tables_say():
    weights = {"w": RNG.standard_normal((512, 1024)).astype(np.float32), "b": np.ones(512)}
    subject = SimpleNamespace(weights=weights)
    header = 400
    for zero, bits in (("middle", 4.125), ("packed", 4.15625), ("half", 4.25)):
        exact = 512 * 1024 * bits / 8 + 2 * 512
        assert 0 < round_model(Grid(4, 128, zero), subject).nbytes - exact < header


def test_constant_and_zero_rows_come_back():
    weights = np.stack([np.zeros(40), np.full(40, 0.5), np.full(40, -3.0)]).astype(np.float32)
    for zero in ("middle", "packed", "half"):
        values, _ = round_matrix(weights, Grid(4, 16, zero))
        np.testing.assert_allclose(values, weights, rtol=2e-3)


def test_levels_are_packed_from_the_top_bit():
    assert pack(np.array([1, 2, 7], np.uint8), 3).tolist() == [0b00101011, 0b10000000]
