"""Steps of rows and columns, as a file holds them: quarter octaves by the metric's weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ArgumentError
from taut.transform.forms import Factor
from taut.transform.rates import HALF_OCTAVES
from taut.transform.steps import Steps


def steps_of(values, rows, columns, dial=0.5, trellis=False):
    return Steps(values, Factor(rows, None, 0.0), (Factor(columns, None, 0.0),), dial, trellis)


@given(seed=st.integers(0, 1 << 30), dial=st.floats(1e-2, 10))
def test_steps_are_the_dial_over_the_root_of_both_weights(seed, dial):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((6, 9)).astype(np.float32)
    rows, columns = 4.0 ** rng.uniform(-2, 2, 6), 4.0 ** rng.uniform(-2, 2, 9)
    steps = steps_of(values, rows, columns, dial)
    found = steps.row_steps[:, None] * steps.column_scales
    ideal = dial / np.sqrt(rows[:, None] * columns)
    assert np.abs(np.log2(found / ideal)).max() <= 0.25 + 1e-5  # an eighth of an octave each side


@given(seed=st.integers(0, 1 << 30))
def test_the_price_of_a_step_makes_up_for_what_exponents_rounded(seed):
    rng = np.random.default_rng(seed)
    rows, columns = 4.0 ** rng.uniform(-2, 2, 5), 4.0 ** rng.uniform(-2, 2, 7)
    steps = steps_of(np.ones((5, 7), np.float32), rows, columns)
    square = (steps.row_steps[:, None] * steps.column_scales) ** 2
    price = steps.row_weights[:, None] * steps.column_weights[0]
    per_loss = price / (square * rows[:, None] * columns)
    assert per_loss.max() / per_loss.min() == pytest.approx(1, rel=1e-4)  # the same everywhere


def test_levels_of_the_trellis_lie_half_as_far_apart():
    values, ones = np.ones((4, 4), np.float32), np.ones(4)
    assert (
        steps_of(values, ones, ones, trellis=True).step == 0.5 * steps_of(values, ones, ones).step
    )


def test_equal_weights_leave_exponents_alone():
    steps = steps_of(np.ones((4, 6), np.float32), np.full(4, 3.0), np.full(6, 0.2))
    assert np.ptp(steps.row_exponents) == np.ptp(steps.column_exponents) == 0


def test_classes_add_up_to_the_half_octave_of_the_scale(rng):
    scale = 2.0 ** rng.integers(-2, 3, 40)[:, None] * 2.0 ** rng.integers(-2, 3, 64)
    values = (rng.standard_normal((40, 64)) * scale).astype(np.float32)
    steps = steps_of(values, np.ones(40), np.ones(64), dial=0.25)
    number = steps.row_class[:, None].astype(int) + steps.column_class + HALF_OCTAVES[0]
    error = number - 2 * np.log2(scale / steps.step)
    assert abs(error.mean()) < 1
    assert np.abs(error).max() <= 3


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_values_that_are_none_are_told(bad):
    values = np.ones((3, 3), np.float32)
    values[1, 1] = bad
    with pytest.raises(ArgumentError, match="too fine"):
        steps_of(values, np.ones(3), np.ones(3))
