"""Pruning with feedback: it must beat pruning without, and agree with the rounding it shares."""

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.transform import (
    factor_forms,
    magnitude,
    n_of_m,
    prune_and_round,
    prune_matrix,
    round_matrix,
    unstructured,
)


@pytest.fixture
def case(rng):
    """Weights, the second moment of correlated inputs, and their metric."""
    inputs = rng.standard_normal((400, 96)) @ (rng.standard_normal((96, 96)) * 0.3 + np.eye(96))
    form = inputs.T @ inputs / len(inputs)
    weights = rng.standard_normal((48, 96)).astype(np.float32)
    return weights, form, factor_forms(np.ones(48), form, damping=(0.0, 0.01))


def loss(missed, form):
    return float(np.trace(missed @ form @ missed.T))


@pytest.mark.parametrize("ask", [{"sparsity": 0.5}, {"n_m": (2, 4)}, {"n_m": (4, 8)}])
def test_feedback_makes_good_what_goes(case, ask):
    weights, form, metric = case
    found = prune_matrix(weights, metric, **ask)
    plain = magnitude(weights)
    mask = unstructured(plain, 0.5) if "sparsity" in ask else n_of_m(plain, *ask["n_m"])
    assert loss(weights - found.values, form) < 0.7 * loss(weights - weights * mask, form)
    assert np.all(found.values[~found.mask] == 0) and found.mask.mean() == 0.5
    assert np.all(found.values[found.mask] != 0)


def test_the_last_column_is_the_closed_form(rng):
    """With one weight to give up, the others move by Hassibi and Stork's equation 5."""
    form = np.array([[2.0, 1.2], [1.2, 1.0]])
    metric = factor_forms(np.ones(1), form, damping=(0.0, 0.0))
    weights = np.array([[1.0, 3.0]], np.float32)
    mask = np.array([[False, True]])
    inverse = np.linalg.inv(form)
    moved = weights[0, 1] - weights[0, 0] / inverse[0, 0] * inverse[0, 1]
    found = prune_matrix(weights, metric, mask=mask)
    assert found.values[0, 1] == pytest.approx(moved, rel=1e-6)


def test_with_nothing_pruned_it_rounds_as_the_kernel_does(case):
    weights, _, metric = case
    ours = prune_and_round(weights, metric, 0.5, mask=np.ones(weights.shape, bool))
    theirs = round_matrix(weights, metric, 0.5, lam=0, trellis=False)
    assert (ours.indices != theirs.indices).mean() < 1e-3  # sums in another order
    assert np.array_equal(ours.column_exponents, theirs.column_exponents)


def test_one_pass_for_both_loses_less_than_two(case):
    weights, form, metric = case
    once = prune_and_round(weights, metric, 2.0, n_m=(2, 4))
    pruned = prune_matrix(weights, metric, n_m=(2, 4))
    nearest = round_matrix(pruned.values, metric, 2.0, lam=0, trellis=False, feedback=False)
    twice = np.where(pruned.mask, nearest.decoded, 0)
    assert loss(weights - once.decoded, form) < loss(weights - twice, form)
    assert (once.indices.reshape(-1, 4) != 0).sum(axis=1).max() == 2
    assert np.array_equal(once.indices == 0, once.decoded == 0)


def test_rows_in_another_order_and_groups_of_rows(rng):
    weights = rng.standard_normal((8, 12)).astype(np.float32)
    rows = np.diag(np.arange(8, 0, -1.0)) + 0.1
    metric = factor_forms(rows, np.eye(12) + 0.5)
    assert metric.order is not None
    found = prune_and_round(weights, metric, 0.1, sparsity=0.25)
    assert np.abs(weights - found.decoded)[found.indices != 0].max() < 1.0
    groups = factor_forms(np.ones(8), np.stack([np.eye(12), np.eye(12) * 4]))
    mask = prune_matrix(weights, groups, sparsity=0.5).mask
    assert mask[4:].sum() > mask[:4].sum()  # the second group's errors cost four times as much


def test_what_cannot_be_is_refused(case):
    weights, _, metric = case
    with pytest.raises(ArgumentError, match=r"M of 5 does not divide 96 columns.*: 4"):
        prune_matrix(weights, metric, n_m=(2, 5))
    with pytest.raises(ArgumentError, match="one of sparsity, n_m and mask"):
        prune_matrix(weights, metric)
