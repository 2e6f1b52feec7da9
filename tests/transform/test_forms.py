"""Forms of a matrix, factored: U diag(w) U^T is the form, however singular that is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.transform import factor_forms, forms, round_matrix
from taut.transform.forms import factor


def restored(found, size):
    upper = np.eye(size) if found.upper is None else np.triu(found.upper.astype(np.float64), 1)
    upper = upper if found.upper is None else upper + np.eye(size)
    return upper @ np.diag(found.weights) @ upper.T


@given(size=st.integers(1, 24), samples=st.integers(1, 60), seed=st.integers(0, 1 << 30))
def test_the_factors_give_the_damped_form_back(size, samples, seed):
    x = np.random.default_rng(seed).standard_normal((samples, size))
    form = x.T @ x / samples
    found = factor(form, 0.1)
    damped = form + 0.1 * np.trace(form) / size * np.eye(size)
    np.testing.assert_allclose(restored(found, size), damped, atol=1e-5 * np.trace(form))
    assert found.damping == 0.1
    assert (found.weights > 0).all()


@pytest.mark.parametrize("size", [1, 8, 21])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_form_in_panels_has_the_same_factors(rng, monkeypatch, tmp_path, size, mapped):
    x = rng.standard_normal((10, size)).astype(np.float32) * rng.uniform(0.2, 5, size)
    form, order = (x.T @ x).astype(np.float32), rng.permutation(size)
    whole = factor(form, 0.05, order=order)
    np.testing.assert_array_equal(whole.upper, factor(form[np.ix_(order, order)], 0.05).upper)
    monkeypatch.setattr(forms, "_AT_ONCE", 0)
    monkeypatch.setattr(forms, "_PANEL", 8)
    found = factor(form, 0.05, order=order, folder=tmp_path if mapped else None)
    np.testing.assert_allclose(found.weights, whole.weights, rtol=1e-5)
    np.testing.assert_allclose(found.upper, whole.upper, atol=1e-5)
    assert (np.diag(found.upper) == 1).all() and not np.tril(found.upper, -1).any()
    assert isinstance(found.upper, np.memmap) == mapped
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_the_factor_of_a_very_large_form_is_in_a_file(rng, monkeypatch, tmp_path):
    x = rng.standard_normal((30, 20))
    monkeypatch.setattr(forms, "_AT_ONCE", 0)
    monkeypatch.setattr(forms, "_IN_MEMORY", 4 * 20 * 20 - 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    metric = factor_forms(x @ x.T, x.T @ x)
    assert isinstance(metric.rows.upper, np.memmap)
    assert isinstance(metric.columns[0].upper, np.memmap)
    found = round_matrix(x, metric, 0.3)
    assert np.abs(found.decoded - x).max() < 2


def test_a_form_in_panels_is_damped_until_it_has_a_root(monkeypatch):
    monkeypatch.setattr(forms, "_AT_ONCE", 0)
    monkeypatch.setattr(forms, "_PANEL", 16)
    found = factor(np.ones((40, 40)), 0.0)  # of rank 1
    assert found.damping > 0
    assert found.weights.min() > 0 and np.isfinite(found.upper).all()


def test_a_singular_form_is_damped_until_it_has_a_root():
    x = np.ones((1, 40))
    found = factor(x.T @ x, 0.0)  # of rank 1
    assert found.damping > 0
    assert np.isfinite(found.weights).all() and found.weights.min() > 0
    assert found.upper is not None and np.isfinite(found.upper).all()


def test_an_indefinite_form_is_damped_more(rng):
    form = rng.standard_normal((12, 12))
    form = form + form.T + 0.5 * np.eye(12)
    found = factor(form + np.eye(12) * max(0.1 - np.trace(form) / 12, 0), 1e-3)
    assert found.damping > 1e-3
    assert (found.weights > 0).all()


@pytest.mark.parametrize("form", [np.zeros((5, 5)), np.zeros(5), np.full(5, np.nan)])
def test_of_nothing_the_identity_is_known(form):
    found = factor(form, 0.3)
    assert found.weights.tolist() == [1.0] * 5
    assert found.upper is None


def test_dead_inputs_get_the_damping_for_a_weight(rng):
    x = rng.standard_normal((100, 6))
    x[:, 2] = 0
    form = x.T @ x / 100
    found = factor(form, 0.2)
    assert found.weights[2] == pytest.approx(0.2 * np.trace(form) / 6)
    off = found.upper - np.eye(6)
    assert not off[2].any() and not off[:, 2].any()  # nothing is fed to it, nor from it


def test_a_diagonal_is_kept_off_zero():
    found = factor(np.array([0.0, 3.0]), 0.0)
    assert found.upper is None
    assert 0 < found.weights[0] < 1e-9 and found.weights[1] == 3.0


def test_rows_go_from_the_least_to_the_most_important(rng):
    gains = np.array([3.0, 1.0, 4.0, 2.0])
    metric = factor_forms(np.diag(gains), np.ones(7), damping=(0.0, 0.0))
    assert metric.order.tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(metric.rows.weights, np.sort(gains))


def test_a_sample_of_rows_has_their_weights(rng):
    gains = rng.uniform(1, 9, 12)
    metric = factor_forms(np.diag(gains), np.ones(5), damping=(0.0, 0.0))
    np.testing.assert_allclose(metric.sample(np.array([2, 7])).rows.weights, gains[[2, 7]])


def test_both_sides_have_a_damping_of_their_own():
    metric = factor_forms(np.ones(4), np.ones(6), damping=(0.5, 0.25))
    assert metric.rows.weights.tolist() == [1.5] * 4
    assert metric.columns[0].weights.tolist() == [1.25] * 6
