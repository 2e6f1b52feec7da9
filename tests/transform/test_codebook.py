"""Codebooks: the optimum by brute force, Lloyd's near it, zeros that stay."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut.errors import ArgumentError
from taut.transform import codebook, optimal_levels, vector_codebook

F4 = np.dtype(np.float32)


def by_brute_force(x, h, entries):
    """The least squared error of any cut of the sorted values into runs."""
    order = np.argsort(x)
    x, h = x[order], h[order]
    best = np.inf
    for cuts in itertools.combinations(range(1, len(x)), entries - 1):
        edges = itertools.pairwise((0, *cuts, len(x)))
        means = [(a, b, np.average(x[a:b], weights=h[a:b])) for a, b in edges]
        best = min(best, sum(float(np.sum(h[a:b] * (x[a:b] - m) ** 2)) for a, b, m in means))
    return best


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 9),
    entries=st.integers(1, 5),
    far=st.sampled_from([0.0, 1e4]),
    repeats=st.booleans(),
)
def test_no_codebook_is_better(seed, count, entries, far, repeats):
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, 4, count) if repeats else rng.standard_normal(count)) + far
    h = rng.random(count) + 0.01
    levels = optimal_levels(x, entries, h)
    found = float(np.sum(h * np.square(x[:, None] - levels).min(axis=1)))
    assert len(levels) <= entries and np.all(np.diff(levels) > 0)
    assert found <= by_brute_force(x, h, min(entries, count)) * (1 + 1e-6) + 1e-12


def test_sixteen_levels_of_a_gaussian_are_those_of_max(rng):
    """Max 1960, table I: the error of 16 levels is 0.009497."""
    w = rng.standard_normal(400_000).astype(np.float32)
    grid = codebook(w, 16)
    assert np.mean(np.square(w - grid.values(F4))) == pytest.approx(0.009497, rel=0.01)
    assert len(grid.levels) == 16 and abs(grid.levels[-grid.low]) == np.abs(grid.levels).min()


def test_many_levels_follow_panter_and_dite(rng):
    w = rng.standard_normal(200_000)
    found = np.mean(np.square(w - codebook(w, 1024).values(np.dtype("f8"))))
    assert found * 1024**2 < 1.06 * np.sqrt(3) * np.pi / 2


def test_few_values_are_held_exactly():
    w = np.array([[3.0, -1.0, 3.0], [0.25, -1.0, 3.0]], np.float32)
    assert np.array_equal(codebook(w, 4).values(F4), w)


def test_importance_moves_the_levels():
    w, h = np.array([0.0, 1.0]), np.array([1.0, 3.0])
    assert optimal_levels(w, 1, h).tolist() == [0.75]
    with pytest.raises(ArgumentError, match="importance"):
        optimal_levels(w, 1, np.array([1.0, -1.0]))


@pytest.mark.parametrize("side", [0, 1, -1])
def test_with_a_mask_zero_is_an_entry_and_only_for_what_went(rng, side):
    w = rng.standard_normal((30, 40))
    w = w if side == 0 else side * np.abs(w)
    mask = np.abs(w) > 0.3
    grid = codebook(w, 8, mask=mask)
    values = grid.values(F4)
    assert len(grid.levels) == 8 and grid.levels[-grid.low] == 0
    assert np.all(values[~mask] == 0) and np.all(values[mask] != 0)
    assert np.array_equal(grid.indices == 0, ~mask)
    free = optimal_levels(w[mask], 7)
    nearest = free[np.abs(w[mask][:, None] - free).argmin(axis=1)]
    assert np.allclose(values[mask], nearest, atol=1e-6)


def test_vector_codebooks_find_what_is_there(rng):
    book = rng.standard_normal((8, 4)) * 5
    truth = rng.integers(0, 8, 500)
    w = (book[truth] + 0.01 * rng.standard_normal((500, 4))).reshape(40, 50)
    found, at = vector_codebook(w, 4, 8, seed=2)
    assert np.mean(np.square(found[at].reshape(40, 50) - w)) < 2e-4
    assert found.dtype == np.float32 and at.dtype == np.int32
    again = vector_codebook(w, 4, 8, seed=2)
    assert np.array_equal(again[0], found)


def test_importance_decides_what_a_vector_codebook_gives_up():
    runs = np.array([[0.0, 0.0], [1.0, 9.0], [4.0, 9.0], [1.0, 0.0]])
    h = np.tile([1.0, 1e-6], (4, 1))  # the second of each pair does not matter
    book, at = vector_codebook(runs, 2, 2, importance=h, seed=0)
    assert at[0] == at[1] == at[3] != at[2]
    assert book[at[2], 0] == 4.0


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="2 to 65,536 entries, not 1"):
        codebook(np.ones(4), 1)
    with pytest.raises(ArgumentError, match="runs of 3 do not divide 8 weights"):
        vector_codebook(np.ones(8), 3, 2)
    with pytest.raises(ArgumentError, match="a codebook of 5 entries for 4 runs of 2"):
        vector_codebook(np.ones(8), 2, 5)
