"""Rounding in a basis: fewer bits at the same loss, and the same anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from taut.coding import CodedArray, Job, decode
from taut.encoding.choose_coder import coded_smallest
from taut.encoding.foresee_coded import estimate_smallest
from taut.transform import FactoredForms, Rounded, factor_forms, round_matrix
from taut.transform.basis import find_directions, round_in_basis
from taut.transform.forms import Factor

ROWS, COLUMNS = 3000, 48


@pytest.fixture
def table(rng: np.random.Generator) -> np.ndarray:
    """Rows that go eight ways, and a little in all others."""
    ways = rng.standard_normal((8, COLUMNS))
    rest = 0.2 * rng.standard_normal((ROWS, COLUMNS))
    return (rng.standard_normal((ROWS, 8)) @ ways + rest).astype(np.float32)


@pytest.fixture
def metric(rng: np.random.Generator) -> FactoredForms:
    some = rng.standard_normal((200, COLUMNS)) @ rng.standard_normal((COLUMNS, COLUMNS))
    return factor_forms(rng.uniform(0.2, 5, ROWS), some.T @ some / 200, damping=(0.0, 0.01))


def loss(metric: FactoredForms, error: np.ndarray) -> float:
    (along,) = metric.columns
    fed = (error @ along.matrix()).astype(np.float64)
    return float(np.einsum("i,j,ij->", metric.rows.weights, along.weights, np.square(fed)))


def rounded(table: np.ndarray, metric: FactoredForms, dial: float, **words: object) -> Rounded:
    directions = find_directions(table, metric)
    assert directions is not None
    return round_in_basis(table, metric, directions, dial, lam=0.1, **words)  # type: ignore[arg-type]


def values_of(coded: CodedArray, dtype: np.dtype) -> np.ndarray:
    out = np.empty((ROWS, COLUMNS), dtype)
    decode([Job(coded.header, coded.chunks, out)])
    return out


@pytest.mark.parametrize("dial", [5.0, 20.0])
def test_a_basis_takes_fewer_bits_for_no_more_loss(
    table: np.ndarray, metric: FactoredForms, dial: float
) -> None:
    plain = round_matrix(table, metric, dial, lam=0.1)
    found = rounded(table, metric, dial)
    bits = [8 * estimate_smallest(one) / table.size for one in (plain, found)]
    assert bits[1] < bits[0] - 0.4
    assert loss(metric, table - found.decoded) < 1.05 * loss(metric, table - plain.decoded)


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f2")])
def test_what_is_coded_decodes_to_what_was_rounded(
    table: np.ndarray, metric: FactoredForms, dtype: np.dtype
) -> None:
    found = rounded(table, metric, 20.0)
    coded = coded_smallest(found, dtype)
    assert values_of(coded, dtype).tobytes() == found.decoded.astype(dtype).tobytes()
    assert estimate_smallest(found) == pytest.approx(coded.nbytes, rel=0.02)


def test_threads_change_nothing(table: np.ndarray, metric: FactoredForms) -> None:
    one, two = (rounded(table, metric, 20.0, threads=threads) for threads in (1, 2))
    assert one.decoded.tobytes() == two.decoded.tobytes()


def test_directions_that_hold_nothing_cost_nothing(metric: FactoredForms) -> None:
    rng = np.random.default_rng(1)
    table = rng.standard_normal((ROWS, 8)) @ rng.standard_normal((8, COLUMNS))
    found = rounded(table.astype(np.float32), metric, 5.0)
    assert found.basis is not None
    assert np.count_nonzero(found.indices.any(axis=0)) == 8
    assert np.count_nonzero(found.basis.indices.any(axis=1)) == 8


def test_the_finest_and_the_coarsest_dials_are_taken(
    table: np.ndarray, metric: FactoredForms
) -> None:
    finest = rounded(table, metric, 1e-12)
    assert finest.basis is None
    assert loss(metric, table - finest.decoded) < 1e-5 * loss(metric, table)
    assert not rounded(table, metric, 1e9).decoded.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: (t[: 8 * COLUMNS], factor_forms(np.ones(8 * COLUMNS), np.eye(COLUMNS))),
        lambda t, m: (np.random.default_rng(0).standard_normal(t.shape), m),
        lambda t, m: (np.zeros_like(t), m),
        lambda t, m: (t[:, :8], factor_forms(np.ones(ROWS), np.eye(8))),
        lambda t, m: (t * 1e20, m),
        lambda t, m: (t, factor_forms(np.ones(ROWS), np.ones((2, COLUMNS, 1)) * np.eye(COLUMNS))),
    ],
    ids=["few rows", "no directions", "zeros", "few columns", "huge values", "groups"],
)
def test_where_a_basis_does_not_serve_there_is_none(table, metric, change) -> None:
    values, changed = change(table, metric)
    if changed is metric and values.shape == table.shape and np.ptp(values) < 20:
        changed = factor_forms(np.ones(ROWS), np.eye(COLUMNS))
    assert find_directions(values, changed) is None


def test_rows_with_a_full_form_have_none(table: np.ndarray) -> None:
    some = table[: 16 * COLUMNS]
    full = factor_forms(np.eye(len(some)) + 0.1, np.eye(COLUMNS))
    assert find_directions(some, full) is None
    assert find_directions(some, factor_forms(np.ones(len(some)), np.eye(COLUMNS))) is not None


def test_some_rows_are_rounded_as_they_are_among_all(
    table: np.ndarray, metric: FactoredForms
) -> None:
    directions = find_directions(table, metric)
    assert directions is not None
    picks = np.arange(0, ROWS, 10)
    some = FactoredForms(Factor(metric.rows.weights[picks], None, 0.0), metric.columns)
    for steps in (8, 40):  # to the scale
        words = {"lam": 0.1, "feedback": False}
        whole = round_in_basis(table, metric, directions, directions.scale / steps, **words)
        few = round_in_basis(table[picks], some, directions, directions.scale / steps, **words)
        assert whole.basis is not None and few.basis is not None
        sizes = [
            estimate_smallest(replace(one, basis=None)) / len(one.indices) for one in (whole, few)
        ]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
