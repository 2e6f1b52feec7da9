"""The dial for a score: few evaluations, never one that is worse than allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.calibration.search import Try, search_dial
from taut.errors import ArgumentError, TargetError
from taut.planning.max_drop import parse_drop


@given(
    scale=st.floats(1e-2, 1e3),
    power=st.floats(0.7, 4),
    drop=st.floats(1e-3, 0.3),
    first=st.floats(0.02, 20),
)
def test_the_dial_is_allowed_and_nearly_the_largest(scale, power, drop, first):
    calls = []

    def judge(dial: float) -> float:
        calls.append(dial)
        return 1 - (dial / scale) ** power

    first *= scale
    best = scale * drop ** (1 / power)
    near = 2.0**-8 < best / first < 2.0**5  # the search moves by so much in so many steps
    try:
        dial, tries = search_dial(judge, 1.0, parse_drop(drop), first, evaluations=11)
    except TargetError:
        assert not near
        return
    assert len(calls) == len(tries) <= 11
    assert 1 - (dial / scale) ** power >= 1 - drop - 1e-12
    assert not near or dial > 0.75 * best


def test_noisy_scores_end_with_one_that_was_good():
    def judge(dial: float) -> float:  # accuracy of a small test set comes in steps
        return round(50 * (1 - dial**2)) / 50

    dial, tries = search_dial(judge, 1.0, parse_drop(0.02), 0.9, evaluations=11)
    assert judge(dial) >= 0.98
    assert Try(dial, judge(dial)) in tries


@given(best=st.floats(0.05, 20), first=st.floats(0.05, 20))
def test_a_score_that_breaks_off_at_once_is_found_to_a_sixteenth_of_an_octave(best, first):
    """Where nothing tells how near the edge is: 4 % of the step, and then no more is tried."""

    def judge(dial: float) -> float:
        return 1.0 if dial <= best else 0.0

    dial, tries = search_dial(judge, 1.0, parse_drop(0.1), first, evaluations=40)
    assert best * 2**-0.0625 <= dial <= best
    bad = min(one.dial for one in tries if not one.score)
    before = tries[:-1]
    assert bad / dial < 2**0.0625
    before_bad = min((one.dial for one in before if not one.score), default=float("inf"))
    before_good = max((one.dial for one in before if one.score), default=0.0)
    assert before_good == 0 or before_bad / before_good > 2**0.05


def test_each_try_is_reported_as_it_is_made():
    seen = []
    _, tries = search_dial(
        lambda dial: 1 - dial, 1.0, parse_drop(0.1), 1.0, evaluations=8, report=seen.append
    )
    assert seen == tries


def test_a_score_that_never_holds_is_an_error_with_the_best():
    with pytest.raises(TargetError, match=r"falls to 0\.49") as caught:
        search_dial(lambda dial: 0.5 - dial / 1e3, 1.0, parse_drop("1%"), 1.0, evaluations=5)
    assert isinstance(caught.value.best, Try)
    assert caught.value.best.dial < 1 / 8


@pytest.mark.parametrize(
    ("drop", "score", "least"),
    [("1%", 80.0, 79.2), (0.5, 80.0, 79.5), ("0.005", 0.9, 0.895), ("10%", -2.0, -2.2)],
)
def test_a_drop_is_a_share_of_the_score_or_points_of_it(drop, score, least):
    assert parse_drop(drop).least(score) == pytest.approx(least)


@pytest.mark.parametrize("drop", ["", "some", "-1%", -0.1, "nan", "inf", "5%%"])
def test_what_is_no_drop_is_told(drop):
    with pytest.raises(ArgumentError, match="max_drop"):
        parse_drop(drop)


@pytest.mark.parametrize("drop", [1e-5, 1e-3, 0.2])
def test_three_evaluations_serve_also_where_much_finer_steps_are_needed(drop):
    """As a network has them that takes a night for each."""
    found, _ = search_dial(lambda x: 1 - x**2, 1.0, parse_drop(drop), 2.0, evaluations=3)
    assert 0.9 * drop**0.5 <= found <= drop**0.5 * (1 + 1e-9)
