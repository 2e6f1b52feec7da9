"""Masks: how many stay, which, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.errors import ArgumentError
from taut.transform import (
    blocks,
    cubic,
    global_masks,
    magnitude,
    n_of_m,
    order_columns,
    regrow,
    unstructured,
    wanda,
)
from taut.transform.mask_order import kept_score


@settings(max_examples=examples(60))
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 40),
    sparsity=st.floats(0, 0.99),
    levels=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_mask_keeps_the_best_and_as_many_as_asked(rows, columns, sparsity, levels, seed):
    scores = np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float32)
    zeros = round(sparsity * scores.size)
    if zeros == scores.size:
        with pytest.raises(ArgumentError, match="leaves none of"):
            unstructured(scores, sparsity)
        return
    mask = unstructured(scores, sparsity)
    assert np.count_nonzero(~mask) == zeros  # ties included: not one more, not one less
    assert scores[mask].min() >= scores[~mask].max(initial=-1)


def test_rows_are_masked_each_by_itself_where_asked():
    scores = np.array([[1, 2, 3, 4], [10, 20, 30, 40]], np.float32)
    assert unstructured(scores, 0.5).sum(axis=1).tolist() == [0, 4]
    assert unstructured(scores, 0.5, per="row").sum(axis=1).tolist() == [2, 2]
    with pytest.raises(ArgumentError, match=r"fc: 0\.5 of zeros empties row 0"):
        unstructured(scores, 0.5, keep_rows=True, name="fc")


def test_wanda_weighs_columns_by_what_enters_them():
    weights = np.array([[3.0, -2.0, 1.0]], np.float32)
    scores = wanda(weights, np.array([1.0, 2.0, 0.5]))
    assert scores.tolist() == [[3.0, 4.0, 0.5]]
    conv = np.ones((4, 3, 2, 2), np.float32)
    assert wanda(conv, np.arange(12)).shape == conv.shape
    with pytest.raises(ArgumentError, match="2 input norms for 3 columns"):
        wanda(weights, np.ones(2))


def test_curvature_turns_magnitude_into_what_the_loss_minds():
    scores = magnitude(np.array([1.0, -2.0]), np.array([9.0, 1.0]))
    assert scores.tolist() == [3.0, 2.0]


def test_a_global_threshold_spares_the_layer_of_large_weights():
    scores = {"a": np.full((2, 2), 5.0), "b": np.arange(12.0).reshape(3, 4)}
    masks = global_masks(scores, 0.25)
    assert masks["a"].all() and masks["b"].sum() == 8
    with pytest.raises(ArgumentError, match=r'sparsity of 0\.5 empties "small" \(2 weights\)'):
        global_masks({"small": np.zeros(2), "large": np.ones(6)}, 0.5)


def test_two_of_four_holds_in_every_run_of_columns(rng):
    mask = n_of_m(np.abs(rng.standard_normal((8, 4, 3, 3))), 2, 4)
    assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()
    assert n_of_m(np.array([[0.0, 0, 0, 0]]), 1, 4).tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: n_of_m(np.ones((2, 27)), 2, 4), "M of 4 does not divide 27 columns; .* does: 3"),
        (lambda: n_of_m(np.ones((2, 8)), 4, 4), "1 <= N < M, not 4:4"),
        (lambda: blocks(np.ones((6, 8)), (4, 4), 0.5), "a block of 4 does not divide 6 rows.*: 3"),
        (lambda: blocks(np.ones((4, 4)), (4, 4), 0.5), None),
        (lambda: unstructured(np.array([1.0, np.nan]), 0.5), "a score is NaN"),
        (lambda: unstructured(np.ones(4), 1.0), "a sparsity of 1.0"),
        (lambda: unstructured(np.ones(4), 0.9, name="fc.bias"), "fc.bias: 0.9 .* none of 4"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    if message is None:
        assert make().all()  # half of one block is rounded to even: the block stays
        return
    with pytest.raises(ArgumentError, match=message):
        make()


def test_blocks_go_and_stay_whole(rng):
    scores = np.abs(rng.standard_normal((8, 12))) + np.kron(np.eye(4, 4), np.full((2, 3), 9))
    mask = blocks(scores, (2, 3), 0.75)
    assert np.array_equal(mask, np.kron(np.eye(4), np.ones((2, 3))).astype(bool))


def test_the_cubic_schedule_is_steep_first():
    found = [cubic(p, 0.9, 0.1) for p in (-1, 0, 0.5, 1, 2)]
    assert found == pytest.approx([0.1, 0.1, 0.8, 0.9, 0.9])


def test_regrowth_keeps_the_number_and_moves_to_large_gradients(rng):
    mask = rng.random((20, 30)) < 0.3
    weights, slopes = rng.standard_normal((2, 20, 30)) * 1e-9  # no scale may matter
    found = regrow(mask, weights, slopes, 0.2)
    assert found.sum() == mask.sum()
    came = found & ~mask
    assert np.abs(slopes[came]).min() >= np.abs(slopes[~found]).max()
    gone = mask & ~found
    assert np.abs(weights[gone]).max() <= np.abs(weights[mask & found]).max()
    assert np.array_equal(regrow(mask, weights, slopes, 0.0), mask)


def test_an_order_of_columns_keeps_more_of_clustered_scores(rng):
    scores = np.abs(rng.standard_normal((32, 32))) * np.repeat([9.0, 1.0, 1.0, 1.0], 8)
    order = order_columns(scores, 2, 4, seed=1)
    assert sorted(order) == list(range(32))
    best = np.sort(scores, axis=None)[-scores.size // 2 :].sum()  # of any mask, N:M or not
    assert kept_score(scores, 2, 4) < 0.85 * best < 0.98 * best < kept_score(scores[:, order], 2, 4)
    assert order_columns(scores[:, :4], 2, 4).tolist() == [0, 1, 2, 3]
