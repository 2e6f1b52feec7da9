"""The bits in the loss: what they say must be what the coder spends, and point where they fall."""

import numpy as np
import pytest

from taut.coding import encode_adaptive

torch = pytest.importorskip("torch")

from taut.training.bits import BitEstimate  # noqa: E402


def sparse(rng, rows=24, columns=40, density=0.2, spread=2.0):
    live = rng.random((rows, columns)) < density
    return torch.from_numpy(np.round(live * rng.laplace(0, spread, (rows, columns)))).float()


def by_hand(index, tables):
    """The code length of an index matrix, one symbol after the other, under given tables."""
    total = 0.0
    for row, logits in zip(index.tolist(), tables.logit.tolist(), strict=True):
        for q, logit in zip(row, logits, strict=True):
            p = 1 / (1 + np.exp(-logit))
            if q == 0:
                total -= np.log2(1 - p)
                continue
            size = int(abs(q))
            total -= np.log2(p)
            total += float(tables.prices[min(size, 15)])
            total += max(0, size - 15) * float(tables.prices[16] - tables.prices[15])
    return total


def test_at_integers_it_is_the_code_length_under_its_own_tables(rng):
    index = sparse(rng, spread=6.0)
    assert index.abs().max() > 16
    found = BitEstimate(index)
    assert found.bits == pytest.approx(by_hand(index, found), rel=1e-4)
    assert float(found(index)) == pytest.approx(found.bits, rel=1e-5)


def test_prices_of_magnitudes_are_a_distribution_and_a_sign(rng):
    prices = BitEstimate(sparse(rng)).prices[1:16]
    assert float((2.0 ** -(prices - 1)).sum()) == pytest.approx(1.0, abs=1e-5)


def test_the_gradient_is_that_of_finite_differences(rng):
    index = sparse(rng)
    tables = BitEstimate(index)
    at = (index + torch.from_numpy(rng.uniform(0.1, 0.4, index.shape)).float()).double()
    tables.rise, tables.steepness = tables.rise.double(), tables.steepness.double()
    tables.zero, tables.one, tables.prices = (
        part.double() for part in (tables.zero, tables.one, tables.prices)
    )
    at.requires_grad_(True)
    tables(at).backward()
    step = 1e-5
    for place in [(0, 0), (3, 7), (11, 2), (23, 39)]:
        up, down = at.detach().clone(), at.detach().clone()
        up[place] += step
        down[place] -= step
        slope = float(tables(up) - tables(down)) / (2 * step)
        assert float(at.grad[place]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_every_weight_is_drawn_towards_zero(rng):
    ratio = (sparse(rng) + 0.3).requires_grad_(True)
    BitEstimate(ratio.detach().round())(ratio).backward()
    assert torch.all(ratio.grad * ratio.detach().sign() >= 0)
    assert ratio.grad.abs().sum() > 0


def test_a_lone_nonzero_costs_more_than_one_in_a_busy_row():
    index = torch.zeros(32, 64)
    index[3, ::2] = 1
    index[20, 1] = 1  # alone in its row and in its column
    found = BitEstimate(index)
    lone, busy = found.one[20, 1], found.one[3, 2]
    assert float(lone) > float(busy) + 4
    assert float(found.rise[20, 1]) > float(found.rise[3, 2])


def test_refreshing_takes_the_tables_anew(rng):
    dense, empty = sparse(rng, density=0.9), torch.zeros(24, 40)
    found = BitEstimate(dense)
    before = float(found(empty))
    found.refresh(empty)
    assert found.bits < 0.1 * before
    assert float(found(empty)) == pytest.approx(found.bits, rel=1e-5)
    assert found.bits == pytest.approx(BitEstimate(empty).bits)


@pytest.mark.parametrize("shape", [(300,), (6, 5, 3, 3)])
def test_vectors_and_kernels_keep_their_shape(rng, shape):
    index = torch.from_numpy(rng.integers(-2, 3, shape)).float()
    ratio = index.clone().requires_grad_(True)
    found = BitEstimate(index)
    found(ratio).backward()
    assert ratio.grad.shape == shape
    # about uniform over five values
    assert found.bits / index.numel() == pytest.approx(np.log2(5), rel=0.1)


def test_it_is_near_what_the_coder_spends(rng):
    rows, columns = rng.gamma(0.6, 1.0, (256, 1)), rng.gamma(0.6, 1.0, (1, 512))
    scale = rows * columns
    scale *= 0.1 / np.mean(np.minimum(scale, 1))
    live = rng.random((256, 512)) < scale
    index = np.where(live, np.round(rng.laplace(0, 1.5, live.shape)), 0).astype(np.int32)
    assert 0.88 < (index == 0).mean() < 0.96
    spent = 8 * encode_adaptive(index, step=0.1, dtype=np.dtype("f4")).nbytes
    told = BitEstimate(torch.from_numpy(index).float()).bits
    assert told == pytest.approx(spent, rel=0.15)
