"""Rounding with feedback: the same as its numpy twin, the same anywhere, and worth its trouble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from taut import _core
from taut.coding import estimate_matrix, exponent_scale, matrix_levels
from taut.errors import ArgumentError
from taut.transform import FactoredForms, factor_forms, round_matrix
from taut.transform._reference_rounding import Problem, round_reference
from taut.transform.rates import rate_curves
from taut.transform.steps import Steps

KERNELS = _core.kernels()


def form(rng: np.random.Generator, size: int, spread: float = 1.0) -> np.ndarray:
    """A positive definite form whose eigenvalues differ by so many powers of ten."""
    basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return basis * 10.0 ** rng.uniform(-spread, spread, size) @ basis.T


def weights(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (rng.standard_t(4, (rows, columns)) * rng.uniform(0.5, 2, columns)).astype(np.float32)


def loss(error: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    return float(np.einsum("ij,jk,lk,il->", error, columns, error, rows, optimize=True))


def by_reference(values: np.ndarray, metric: FactoredForms, dial: float, lam: float, trellis: bool):
    """What `round_matrix` gives, by the numpy twin."""
    order = np.arange(len(values)) if metric.order is None else metric.order
    values = values[order]
    n = values.shape[1]
    steps = Steps(values, metric.rows, metric.columns, dial, trellis)
    curves = rate_curves(trellis)
    parts = []
    for group, (part, rows, factor) in enumerate(metric.groups()):
        each = part.stop - part.start
        lower = np.zeros((each, each), np.float32) if rows.diagonal else rows.matrix().T
        number = steps.row_class[part, None].astype(int) + steps.column_class
        upper = np.zeros((n, n), np.float32) if factor.diagonal else factor.matrix()
        problem = Problem(
            values=values[part],
            row_steps=steps.row_steps[part],
            column_scales=steps.column_scales,
            prices=steps.row_weights[part, None] * steps.column_weights[group],
            curves=curves[np.minimum(number, len(curves) - 1)],
            upper=upper,
            lower=lower,
            lam=lam,
        )
        parts.append(round_reference(problem, trellis=trellis)[0])
    back = np.argsort(order, kind="stable")
    return np.concatenate(parts)[back]


@settings(max_examples=examples(60))
@given(
    rows=st.integers(1, 9),
    columns=st.sampled_from([1, 2, 7, 31, 128, 130, 260]),
    trellis=st.booleans(),
    kinds=st.tuples(st.booleans(), st.booleans()),
    lam=st.sampled_from([0.0, 0.1, 0.5]),
    dial=st.sampled_from([0.1, 0.6, 3.0]),
    seed=st.integers(0, 1 << 30),
)
def test_the_native_rounding_is_the_numpy_one(rows, columns, trellis, kinds, lam, dial, seed):
    rng = np.random.default_rng(seed)
    values = weights(rng, rows, columns)
    full = [form(rng, rows), form(rng, columns)]
    metric = factor_forms(*(f if full else np.diag(f) for f, full in zip(full, kinds, strict=True)))
    expected = by_reference(values, metric, dial, lam, trellis)
    for kernels in KERNELS:
        for threads in (1, 2):
            found = round_matrix(
                values, metric, dial, lam=lam, trellis=trellis, threads=threads, kernels=kernels
            )
            np.testing.assert_array_equal(found.indices, expected)


@pytest.mark.parametrize("trellis", [False, True])
def test_groups_of_rows_have_forms_of_their_own(rng, trellis):
    values = weights(rng, 12, 9)  # a grouped convolution: four groups of three filters
    forms = np.stack([form(rng, 9) for _ in range(4)])
    metric = factor_forms(form(rng, 12), forms)
    assert [one.upper.shape for one in metric.parts] == 4 * [(3, 3)]
    expected = by_reference(values, metric, 0.4, 0.1, trellis)
    found = round_matrix(values, metric, 0.4, lam=0.1, trellis=trellis)
    np.testing.assert_array_equal(found.indices, expected)


def test_tiles_are_rounded_as_if_there_were_none(rng):
    values = weights(rng, 41, 131)  # two tiles by two, and in each a part of eight rows
    metric = factor_forms(form(rng, 41), form(rng, 131))
    expected = by_reference(values, metric, 0.6, 0.25, True)
    found = round_matrix(values, metric, 0.6, threads=2)
    np.testing.assert_array_equal(found.indices, expected)


@pytest.mark.parametrize("full", [False, True])
def test_many_rows_are_the_same_on_any_thread_and_kernel(rng, full):
    rows = form(rng, 270) if full else np.ones(270)
    values, metric = weights(rng, 270, 400), factor_forms(rows, form(rng, 400))
    every = [
        round_matrix(values, metric, 0.3, threads=threads, kernels=kernels)
        for threads in (1, 2, 3)
        for kernels in KERNELS
    ]
    for other in every[1:]:
        np.testing.assert_array_equal(every[0].indices, other.indices)
        np.testing.assert_array_equal(every[0].decoded.view("u4"), other.decoded.view("u4"))


@pytest.mark.parametrize("trellis", [False, True])
def test_what_it_decodes_to_is_the_levels_times_the_steps(rng, trellis):
    found = round_matrix(
        weights(rng, 40, 60), factor_forms(form(rng, 40), form(rng, 60)), 0.3, trellis=trellis
    )
    assert found.row_exponents is not None and found.column_exponents is not None
    levels = matrix_levels(found.indices, trellis=trellis).astype(np.float32)
    scales = np.float32(found.step) * exponent_scale(found.row_exponents, found.fraction)
    decoded = levels * scales[:, None] * exponent_scale(found.column_exponents, found.fraction)
    np.testing.assert_array_equal(decoded, found.decoded)


@pytest.mark.parametrize("side", ["rows", "columns"])
def test_feedback_loses_less_at_as_many_bits(rng, side):
    values = rng.standard_normal((64, 64)).astype(np.float32)
    skewed = form(rng, 64, 1.5)
    rows, columns = (skewed, np.eye(64)) if side == "rows" else (np.eye(64), skewed)
    metric = factor_forms(rows, columns, damping=(1e-3, 1e-3))

    def cost(feedback: bool) -> float:
        """Loss, taken to 3 bits by the law of 6 dB a bit."""
        found = round_matrix(values, metric, 0.4, lam=0.0, feedback=feedback)
        bits = 8 * estimate_matrix(found.indices, trellis=True) / values.size
        return loss(values - found.decoded, rows, columns) * 4.0 ** (bits - 3)

    # Without feedback steps ought to be larger; even the geometric mean over the best steps is
    # beaten by the ratio of the forms' arithmetic to geometric mean only with it.
    assert cost(True) < 0.6 * cost(False)


def test_the_trellis_loses_less_at_as_many_bits(rng):
    values, metric = rng.standard_normal((256, 256)).astype(np.float32), None
    metric = factor_forms(np.ones(256), np.ones(256))

    def cost(trellis: bool) -> float:
        found = round_matrix(values, metric, 0.25, lam=0.0, trellis=trellis)
        bits = 8 * estimate_matrix(found.indices, trellis=trellis) / values.size
        return float(np.mean((values - found.decoded) ** 2)) * 4.0**bits

    # Of the 1.53 dB between a scalar quantiser and the bound, eight states win most.
    assert 0.75 < cost(True) / cost(False) < 0.85


def test_lambda_trades_error_for_bits(rng):
    values, metric = weights(rng, 64, 64), factor_forms(form(rng, 64), form(rng, 64))
    found = [round_matrix(values, metric, 0.5, lam=lam) for lam in (0.0, 0.25, 1.0)]
    sizes = [estimate_matrix(f.indices, trellis=True) for f in found]
    errors = [float(np.square(values - f.decoded).sum()) for f in found]
    assert sizes[0] > sizes[1] > sizes[2]
    assert errors[0] < errors[2]


def test_an_index_takes_as_many_bytes_as_it_needs(rng):
    values, metric = weights(rng, 8, 300), factor_forms(form(rng, 8), form(rng, 300))
    values[5, 290] = 2e5
    for dial, kind in ((3e4, "i1"), (3e2, "i2"), (3.0, "i4")):
        found = round_matrix(values, metric, dial, lam=0.0)
        assert found.indices.dtype == kind
        assert abs(found.decoded[5, 290] - values[5, 290]) < 10 * dial
        np.testing.assert_array_equal(found.indices, by_reference(values, metric, dial, 0.0, True))


def test_values_are_left_alone(rng):
    values, metric = weights(rng, 9, 20), factor_forms(form(rng, 9), form(rng, 20))
    metric, before = replace(metric, order=None), values.copy()
    round_matrix(values, metric, 0.3)
    np.testing.assert_array_equal(values, before)


def test_zeros_stay_zeros(rng):
    metric = factor_forms(form(rng, 8), form(rng, 16))
    found = round_matrix(np.zeros((8, 16), np.float32), metric, 0.1)
    assert not found.indices.any() and not found.decoded.any()


def test_rows_keep_their_places(rng):
    values = np.repeat(np.arange(1, 33, dtype=np.float32)[:, None], 4, axis=1)
    found = round_matrix(values, factor_forms(form(rng, 32, 2), np.ones(4)), 0.01, lam=0.0)
    assert np.abs(found.decoded - values).max() < 0.5


@pytest.mark.parametrize(("dial", "told"), [(1e-9, "too fine"), (1e-60, "range"), (1e60, "range")])
def test_steps_out_of_reach_are_told(rng, dial, told):
    with pytest.raises(ArgumentError, match=told):
        round_matrix(weights(rng, 8, 8), factor_forms(np.ones(8), np.ones(8)), dial)
