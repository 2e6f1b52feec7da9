"""Rounding: what a rate-distortion optimum must satisfy, and that every kernel finds the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import Job, decode, encode_matrix, estimate_indices, row_length
from taut.errors import ArgumentError
from taut.transform import LAMBDA, Indices, Rounded, quantize, quantize_matrix, sample_rows


def weights(seed: int, shape: tuple[int, int], spread: float = 0.0) -> np.ndarray:
    """Gaussian rows whose scales vary by exp(spread)."""
    rng = np.random.default_rng(seed)
    scale = np.exp(spread * rng.standard_normal((shape[0], 1)))
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def decoded(values: np.ndarray, step: float, lam: float) -> np.ndarray:
    """What the indices stand for, by the formula of docs/coding.md."""
    q = quantize(values, step, lam=lam)
    inside = np.array((0.0, *q.offsets), np.float32)[np.minimum(np.abs(q.values), 3)]
    return np.sign(q.values) * (np.abs(q.values) - inside) * np.float32(q.step)


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 70),
    columns=st.integers(1, 700),
    log_step=st.floats(-9, 3),
    lam=st.sampled_from([0.0, LAMBDA, 0.5]),
)
def test_every_kernel_rounds_alike(seed, rows, columns, log_step, lam):
    values = weights(seed, (rows, columns), 1.0).reshape(-1)
    found = []
    for kernels in _core.kernels():
        out = np.empty(values.size, np.int32)
        offsets = _core.quantize(values, columns, 2.0**log_step, lam, out, kernels)
        found.append((offsets, out.tolist()))
    assert all(other == found[0] for other in found[1:])


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), step=st.floats(0.05, 3), lam=st.sampled_from([0.0, LAMBDA]))
def test_an_index_is_the_nearest_or_its_neighbour_and_keeps_the_sign(seed, step, lam):
    values = weights(seed, (40, 130), 0.5)
    q = quantize(values, step, lam=lam)
    scaled = values / np.float32(q.step)
    # An inward level may win a little before half way, a cheaper one up to a quarter beyond.
    assert np.all(np.abs(q.values) - np.abs(scaled) <= 0.76)
    assert np.all(np.abs(scaled) - np.abs(q.values) <= 1.26)
    assert np.all((q.values == 0) | (np.sign(q.values) == np.sign(values)))


@pytest.mark.parametrize("step", [0.2, 0.7, 1.5])
def test_levels_sit_at_the_centroids_of_their_members(step):
    values = weights(3, (300, 400))
    q = quantize(values, step)
    u, k = np.abs(values.astype(np.float64)) / q.step, np.abs(q.values)
    for level, offset in enumerate(q.offsets, 1):
        members = k >= 3 if level == 3 else k == level
        if members.any():
            assert offset == pytest.approx(np.mean(k[members] - u[members]), abs=1e-4)


@pytest.mark.parametrize("step", [0.3, 0.6, 1.2])
def test_a_price_on_bits_buys_more_than_it_costs(step):
    """At the bits that lambda saves, plain rounding would have a larger error."""
    values = weights(5, (512, 512), 0.3)
    power = float(np.sum(values.astype(np.float64) ** 2))
    bits, error = {}, {}
    for lam in (0.0, LAMBDA):
        q = quantize(values, step, lam=lam)
        bits[lam] = 8 * estimate_indices(q.values) / values.size
        error[lam] = float(np.sum((values - decoded(values, step, lam)).astype(np.float64) ** 2))
    saved = bits[0.0] - bits[LAMBDA]
    assert saved > 0.005
    # 6.02 dB per bit at high rate; low rates are flatter still, so this asks for less than theory
    assert error[LAMBDA] < error[0.0] * 2 ** (2 * saved)
    assert error[0.0] / power < 0.2


def test_all_values_below_a_quarter_step_are_zero():
    q = quantize(np.full((70, 70), 0.2, np.float32), 1.0)
    assert not q.values.any()


def test_nothing_is_clipped():
    values = weights(1, (64, 64))
    values[5, 5] = 1e6
    q = quantize(values, 0.01)
    assert q.values[5, 5] == pytest.approx(1e8, rel=1e-6)


def test_absurd_steps_and_values_are_refused():
    with pytest.raises(ArgumentError, match="too fine for values up to 1"):
        quantize(np.ones((2, 2), np.float32), 1e-12)
    with pytest.raises(ArgumentError, match=r"3\.4e38"):
        quantize(np.full((2, 2), 1e300), 1.0)


def test_samples_are_whole_rows_spread_over_the_tensor():
    values = np.arange(10_000).reshape(1000, 10)
    rows = sample_rows(values, 500)
    assert rows.shape == (50, 10)
    assert rows[0, 0] == 0
    assert rows[-1, 0] > 9000
    assert np.array_equal(rows[:, 0] + 9, rows[:, 9])
    assert row_length(values.shape) == 70  # rows of 10 are joined until they have 64


def through_the_file(values: np.ndarray, step: float) -> tuple[np.ndarray, float]:
    """What the trellis' indices decode to, and bits per value."""
    found = quantize_matrix(values, step)
    assert isinstance(found, Rounded)
    coded = encode_matrix(
        found.indices,
        step=found.step,
        offsets=found.offsets,
        trellis=True,
        dtype=np.dtype(np.float32),
    )
    out = np.empty(values.shape, np.float32)
    decode([Job(coded.header, coded.chunks, out)])
    return out, 8 * coded.nbytes / values.size


@pytest.mark.parametrize("step", [0.12, 0.5, 1.0])
def test_the_trellis_gets_a_good_part_of_what_scalar_rounding_leaves(step):
    """At least a tenth of a bit of the quarter that uniform quantisers lack (Gish and Pierce)."""
    values = weights(7, (512, 512), 0.2)
    out, bits = through_the_file(values, step)
    error = np.mean(np.square(values - out, dtype=np.float64))
    plain = quantize(values, step)
    beside = np.mean(np.square(values - decoded(values, step, LAMBDA), dtype=np.float64))
    plain_bits = 8 * estimate_indices(plain.values) / values.size
    assert 0.5 * np.log2(error / beside) + bits - plain_bits < -0.1


def test_levels_of_the_trellis_move_towards_the_centroids_of_their_members():
    """Not all the way: members change with the levels, and are fitted on a sample once."""
    values = weights(3, (300, 400))
    found = quantize_matrix(values, 0.7)
    out, _ = through_the_file(values, 0.7)
    magnitude = np.minimum(np.abs(found.indices), 3)
    missed = (out - values) * np.sign(out) / found.step
    for level, offset in enumerate(found.offsets, 1):
        assert abs(np.mean(missed[magnitude == level])) < abs(offset)
    assert max(abs(offset) for offset in found.offsets) > 0.02


def test_the_trellis_gives_the_same_at_any_number_of_threads():
    values = weights(9, (3000, 500), 0.5)  # more than a block
    one, two = (quantize_matrix(values, 0.4, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.indices, two.indices)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (weights(1, (1, 5000))[0], 0.5),
        (weights(1, (700, 7)), 0.5),
        (weights(1, (4, 50_000)), 0.5),
        (weights(1, (64, 64)), 0.01),
        (weights(1, (64, 64)) * (weights(2, (64, 64)) > 1.5), 0.5),
        (weights(1, (64, 64)), 1e30),
        (np.zeros((64, 64), np.float32), 1.0),
        (np.zeros((0, 64), np.float32), 1.0),
    ],
)
def test_what_the_trellis_does_not_serve_is_rounded_plainly(values, step):
    found = quantize_matrix(values, step)
    assert isinstance(found, Indices)
    assert np.array_equal(found.values, quantize(values, step).values)


def test_an_outlier_is_not_clipped_by_the_trellis():
    values = weights(1, (64, 64))
    values[5, 5] = 300.0
    out, _ = through_the_file(values, 0.5)
    assert out[5, 5] == pytest.approx(300, abs=0.5)


def test_absurd_values_are_refused_by_the_trellis_too():
    with pytest.raises(ArgumentError, match="too fine for values up to 1"):
        quantize_matrix(np.ones((64, 64), np.float32), 1e-12)
    with pytest.raises(ArgumentError, match=r"3\.4e38"):
        quantize_matrix(np.full((64, 64), 1e300), 1.0)
