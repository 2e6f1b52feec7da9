"""All matrices at one dial: the same bits for the same loss, whatever is known of each."""

from __future__ import annotations

import numpy as np
import pytest

from taut.analysis import Curvature
from taut.calibration import Options, Rounder
from taut.calibration.findings import rounded_arrays, rounded_from
from taut.errors import ArgumentError
from taut.io import TensorInfo, open_source
from taut.scheme import parse_scheme


def curvature(rows: np.ndarray, columns: np.ndarray, samples: int = 500) -> Curvature:
    return Curvature(rows, columns, None, None, samples, samples, "linear", 0)


@pytest.fixture
def matrices(rng):
    return {
        "a": rng.standard_normal((64, 96)).astype(np.float32),
        "b": (rng.standard_normal((96, 64)) * 0.01).astype(np.float32),
    }


def rounder(matrices, known=None, schemes=None, **words):
    found = {name: parse_scheme("rd") for name in matrices}
    found |= {name: parse_scheme(scheme) for name, scheme in (schemes or {}).items()}
    return Rounder(open_source(matrices), found, known or {}, **words)


def bits(made: Rounder, name: str) -> float:
    from taut.calibration.rounder import estimated

    return 8 * estimated(made.found[name], "max") / made.found[name].indices.size


def test_a_matrix_of_which_nothing_is_known_gets_steps_by_its_scale(matrices):
    made = rounder(matrices)
    made.turn(made.first_dial(3))
    assert bits(made, "a") == pytest.approx(bits(made, "b"), abs=0.3)
    assert bits(made, "a") == pytest.approx(3, abs=0.7)


def test_what_counts_for_more_gets_more_bits(matrices):
    known = {
        "a": curvature(np.eye(64), np.eye(96)),
        "b": curvature(np.eye(96), 4.0**2 * np.eye(64) / 0.01**2),
    }
    made = rounder(matrices, known)
    made.turn(made.first_dial(3))
    assert bits(made, "b") - bits(made, "a") == pytest.approx(2, abs=0.3)  # four times as fine


def test_a_gain_of_two_is_a_bit_less(matrices):
    made, coarse = rounder(matrices), rounder(matrices, gains={"a": 2.0})
    for one in (made, coarse):
        one.turn(made.first_dial(4))
    assert bits(made, "a") - bits(coarse, "a") == pytest.approx(1, abs=0.15)
    assert bits(made, "b") == bits(coarse, "b")


def test_bits_of_its_own_are_met_at_any_dial(matrices):
    made = rounder(matrices, schemes={"a": "rd:2.5"})
    for dial in (0.01, 1.0):
        made.turn(dial)
        assert 0.99 * 2.5 <= bits(made, "a") <= 2.5
    assert made.weights == 96 * 64


def test_bits_that_cannot_be_met_name_the_tensor(matrices):
    with pytest.raises(ArgumentError, match=r'"a": rd:0\.01 cannot be met'):
        rounder(matrices, schemes={"a": "rd:0.01"}).turn(1.0)


def test_the_estimate_is_near_what_rounding_gives(matrices, rng):
    x = rng.standard_normal((500, 96)) * np.linspace(0.2, 3, 96)
    known = {"a": curvature(np.eye(64), x.T @ x / 500), "b": curvature(np.eye(96), np.eye(64))}
    made = rounder(matrices, known)
    dial = made.first_dial(3)
    made.turn(dial)
    assert made.estimate(dial) == pytest.approx(made.nbytes, rel=0.1)


def test_the_dial_for_a_size_is_where_the_estimate_has_it(matrices):
    made = rounder(matrices)
    dial = made.dial_for(4000, made.first_dial(3))
    assert made.estimate(dial) == pytest.approx(4000, rel=0.01)


@pytest.mark.parametrize("alone", [1 << 23, 1])
def test_threads_change_nothing(matrices, monkeypatch, alone):
    """Several matrices at a time, and one on all threads."""
    monkeypatch.setattr("taut.calibration.rounder._ALONE", alone)
    known = {"a": curvature(np.eye(64), np.eye(96)), "b": curvature(np.ones(96), np.ones(64))}
    one, many = rounder(matrices, known), rounder(matrices, known, threads=3)
    for made in (one, many):
        made.turn(0.3)
    for name in matrices:
        np.testing.assert_array_equal(one.found[name].indices, many.found[name].indices)


def test_a_sample_of_rows_is_those_rows(matrices):
    made = rounder(matrices)
    made.turn(made.first_dial(3))
    info = TensorInfo("a", "F32", (16, 96), 16 * 96 * 4)
    part = made(info, matrices["a"][24:40], parse_scheme("rd"))
    np.testing.assert_array_equal(part.indices, made.found["a"].indices[24:40])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_none_are_named(matrices, bad):
    matrices["b"][3, 4] = bad
    with pytest.raises(ArgumentError, match=r'"b" has the value (nan|inf) at \[3, 4\]'):
        rounder(matrices)


def test_damping_is_by_how_much_data_there_was(matrices):
    few, many = (
        rounder(matrices, {"a": curvature(np.eye(64), np.eye(96), samples)}).damping
        for samples in (200, 20_000)
    )
    assert few == pytest.approx(10 * many, rel=0.01)
    assert rounder(matrices, options=Options(damping=0.7)).damping == 0.7


def test_another_lambda_forgets_what_was_rounded(matrices):
    made = rounder(matrices)
    made.turn(0.5)
    before = made.nbytes
    made.lam = 1.0
    assert made.found == {}
    made.turn(0.5)
    assert made.nbytes < before


def test_a_table_whose_rows_go_the_same_ways_is_rounded_in_a_basis(rng):
    words = (rng.standard_normal((2000, 6)) @ rng.standard_normal((6, 32))).astype(np.float32)
    words += 0.2 * rng.standard_normal(words.shape).astype(np.float32)
    known = {"words": curvature(rng.uniform(0.2, 3, 2000), np.eye(32))}
    made = rounder({"words": words}, known)
    plain = rounder({"words": words}, known, options=Options(basis=False))
    fast = rounder({"words": words}, known, effort="fast")
    dial = made.first_dial(2)
    for one in (made, plain, fast):
        one.turn(dial)
    assert made.found["words"].basis is not None
    assert plain.found["words"].basis is None and fast.found["words"].basis is None
    assert made.nbytes < 0.85 * plain.nbytes
    assert made.estimate(dial) == pytest.approx(made.nbytes, rel=0.05)
    errors = [np.square(words - one.decoded("words")).sum() for one in (made, plain)]
    assert errors[0] < 1.05 * errors[1]


def test_a_basis_goes_through_the_journal(rng):
    words = (rng.standard_normal((700, 4)) @ rng.standard_normal((4, 32))).astype(np.float32)
    made = rounder({"words": words}, {"words": curvature(np.ones(700), np.eye(32))})
    made.turn(made.first_dial(3))
    found = made.found["words"]
    assert found.basis is not None
    again = rounded_from(rounded_arrays(found))
    assert again.basis is not None
    assert again.decoded.tobytes() == found.decoded.tobytes()
