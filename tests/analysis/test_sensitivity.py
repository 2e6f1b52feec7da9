"""Predicted losses against the trace written out, and against a network's real loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taut.analysis import sensitivity
from taut.analysis.curvature import Curvature
from taut.analysis.sensitivity import DAMPING, predict_loss, rank_correlation, summarise
from taut.errors import ArgumentError


def spd(rng: np.random.Generator, *shape: int) -> np.ndarray:
    half = rng.standard_normal((*shape, shape[-1]))
    return half @ np.swapaxes(half, -1, -2)


def curvature(rows: np.ndarray, columns: np.ndarray) -> Curvature:
    return Curvature(rows, columns, None, None, 10, 10, "linear", 0)


def test_the_loss_is_the_trace(rng: np.random.Generator) -> None:
    R, C = spd(rng, 6), spd(rng, 9)
    E = rng.standard_normal((6, 9)).astype(np.float32)
    assert predict_loss(E, curvature(R, C)) == pytest.approx(np.trace(R @ E @ C @ E.T), rel=1e-5)
    r, c = np.diag(R), np.diag(C)
    diagonal = np.trace(np.diag(r) @ E @ np.diag(c) @ E.T)
    assert predict_loss(E, curvature(r, c)) == pytest.approx(diagonal, rel=1e-5)
    mixed = np.trace(np.diag(r) @ E @ C @ E.T)
    assert predict_loss(E, curvature(r, C)) == pytest.approx(mixed, rel=1e-5)


def test_groups_of_rows_have_their_own_columns(rng: np.random.Generator) -> None:
    R, C = spd(rng, 6), spd(rng, 3, 5)
    E = rng.standard_normal((6, 5)).astype(np.float32)
    EC = np.concatenate([E[2 * g : 2 * g + 2] @ C[g] for g in range(3)])
    assert predict_loss(E, curvature(R, C)) == pytest.approx(np.sum((R @ E) * EC), rel=1e-5)


def test_scales_far_from_one_are_no_trouble(rng: np.random.Generator) -> None:
    R, C = spd(rng, 4), spd(rng, 4)
    E = rng.standard_normal((4, 4)).astype(np.float32)
    expected = predict_loss(E, curvature(R, C))
    tiny = predict_loss(E * np.float32(1e-30), curvature(R * 1e30, C * 1e40))
    assert tiny == pytest.approx(expected * 1e10, rel=1e-5)


def test_what_takes_too_long_is_taken_from_diagonals(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    R, C = spd(rng, 6), spd(rng, 9)
    E = rng.standard_normal((6, 9)).astype(np.float32)
    monkeypatch.setattr(sensitivity, "_WORK", 0)
    diagonal = predict_loss(E, curvature(np.diag(R), np.diag(C)))
    assert predict_loss(E, curvature(R, C)) == pytest.approx(diagonal)


def test_nothing_is_lost_where_the_loss_does_not_depend_or_nothing_changed() -> None:
    E = np.ones((2, 3), np.float32)
    assert predict_loss(E, curvature(np.zeros(2), np.zeros(3))) == 0
    assert predict_loss(0 * E, curvature(np.ones(2), np.ones(3))) == 0
    with pytest.raises(ArgumentError, match="shape"):
        predict_loss(E.T, curvature(np.ones(2), np.ones(3)))


def test_the_gain_is_that_of_the_factors_conditional_variances(rng: np.random.Generator) -> None:
    C = spd(rng, 8)
    found = summarise(curvature(np.ones(3), C), 0.1)
    damped = C + 0.1 * np.trace(C) / 8 * np.eye(8)
    L = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]  # damped = L L^T, L upper
    D = np.diag(L) ** 2
    mean = np.trace(damped) / 8
    assert found.column_gain == pytest.approx(
        0.5 * (math.log2(mean) - np.mean(np.log2(D))), rel=1e-9
    )
    assert found.row_gain == 0
    # The geometric mean of 1 / sqrt(row weight * column weight).
    rows = 1 + DAMPING
    assert found.step == pytest.approx(float(np.exp(np.mean(-0.5 * np.log(rows * D)))), rel=1e-9)


def test_directions_that_matter_are_counted() -> None:
    columns = np.diag([1.0, 1, 1, 0, 0])
    found = summarise(curvature(np.ones(4), columns))
    assert (found.effective_rows, found.effective_columns) == (4, pytest.approx(3))
    assert found.dead_inputs == 2
    grouped = summarise(curvature(np.ones(4), np.stack([np.eye(2), np.diag([1.0, 0])])))
    assert (grouped.effective_columns, grouped.dead_inputs) == (1.5, 1)


def test_a_matrix_without_effect_has_no_step_and_no_gain() -> None:
    found = summarise(curvature(np.zeros(4), np.zeros((3, 3))))
    assert (found.trace, found.step, found.gain, found.effective_columns) == (0, 0, 0, 0)


def test_ranks_agree_whatever_the_values_and_share_their_ties() -> None:
    first = np.array([1.0, 2, 3, 4])
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones(4)) == 0
    # Ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4: covariance 4.5 over sqrt(5 * 4.5).
    tied = np.array([5.0, 6, 6, 9])
    assert rank_correlation(first, tied) == pytest.approx(4.5 / math.sqrt(22.5))
