"""Which points are worth having, where the knee is, and what is asked of a trade-off."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ArgumentError
from taut.scoring.results import Metric
from taut.sweep.pareto import Missed, Point, check_drop, frontier_of, knee_of, pareto_set

ORIGINAL = Point("original", "original", 1600, 32, 1, (Metric("accuracy", 0.9),))


def point(name, size, score, better="higher"):
    metric = Metric("accuracy", score, better=better)
    drop = 0.9 - score if better == "higher" else score - 0.9
    return Point(name, "dial", size, 0, 0, (metric,), drop=drop)


def names(points):
    return [one.name for one in points]


def test_what_is_larger_and_no_better_is_not_worth_having():
    points = [
        point("large and best", 400, 0.9),
        point("as large, worse", 400, 0.8),
        point("larger than small, as good", 200, 0.5),
        point("small", 100, 0.5),
        point("between", 300, 0.7),
    ]
    assert names(pareto_set(points)) == ["small", "between", "large and best"]


def test_of_a_metric_of_which_less_is_better_the_lowest_is_best():
    points = [point("a", 100, 30.0, "lower"), point("b", 200, 40.0, "lower")]
    assert names(pareto_set([*points, point("c", 300, 20.0, "lower")])) == ["a", "c"]


scores = st.floats(-5, 5, allow_nan=False)


@given(st.lists(st.tuples(st.integers(1, 50), scores), min_size=1))
def test_the_set_beats_or_equals_every_point_and_none_of_it_another(pairs):
    points = [point(str(i), size, score) for i, (size, score) in enumerate(pairs)]
    worth = pareto_set(points)
    for one in points:
        assert any(w.size <= one.size and w.goodness >= one.goodness for w in worth)
    for before, after in pairwise(worth):
        assert before.size < after.size
        assert before.goodness < after.goodness


@given(st.lists(st.tuples(st.integers(1, 50), scores), max_size=20))
def test_a_knee_is_a_point_of_the_set_or_nothing(pairs):
    worth = pareto_set([point(str(i), s, v) for i, (s, v) in enumerate(pairs)])
    assert knee_of(worth) in (None, *worth)


def test_the_knee_is_farthest_above_the_chord_in_log_size():
    # x = 0, 1/3, 2/3, 1 over log size, y = 0, 0.5, 0.9, 1: y - x = 0, 0.17, 0.23, 0.
    worth = [point("a", 100, 0.0), point("b", 200, 0.5), point("c", 400, 0.9), point("d", 800, 1)]
    assert knee_of(worth).name == "c"


def test_the_knee_is_the_same_in_another_unit_and_turned_round():
    sizes, values = (100, 200, 400, 800), (0.0, 0.5, 0.9, 1.0)
    percent = [point(str(s), s, 100 * v) for s, v in zip(sizes, values, strict=True)]
    loss = [point(str(s), s, 3 - v, "lower") for s, v in zip(sizes, values, strict=True)]
    assert (knee_of(percent).name, knee_of(loss).name) == ("400", "400")


def test_few_points_and_straight_lines_have_no_knee():
    assert knee_of([]) is None
    assert knee_of([point("a", 100, 0.5)]).name == "a"  # nothing larger is better
    assert knee_of([point("a", 100, 0.5), point("b", 200, 0.6)]) is None
    straight = [point("a", 100, 0.1), point("b", 200, 0.2), point("c", 400, 0.3)]
    assert knee_of(straight) is None
    bent_down = [point("a", 100, 0.1), point("b", 200, 0.11), point("c", 400, 0.3)]
    assert knee_of(bent_down) is None


@pytest.fixture
def found():
    points = [point("8 bits", 400, 0.9), point("2 bits", 100, 0.7), point("3 bits", 150, 0.88)]
    return frontier_of("net", "accuracy", ORIGINAL, points, [Missed("1 bits", "cannot be")])


def test_points_go_by_size_and_are_found_by_name(found):
    assert names(found.points) == ["2 bits", "3 bits", "8 bits"]
    assert found.pareto == ("2 bits", "3 bits", "8 bits")
    assert found.knee == "3 bits"
    assert found["3 bits"].size == 150
    assert found["original"].size == 1600
    with pytest.raises(ArgumentError, match="has 2 bits, 3 bits, 8 bits"):
        found["4 bits"]


@pytest.mark.parametrize(
    ("drop", "name"),
    [(0.3, "2 bits"), ("25%", "2 bits"), (0.1, "3 bits"), ("2.3%", "3 bits"), ("0", "8 bits")],
)
def test_the_smallest_that_loses_at_most_so_much(found, drop, name):
    assert found.smallest(drop).name == name


def test_where_every_point_loses_more_there_is_no_smallest():
    found = frontier_of("net", "accuracy", ORIGINAL, [point("a", 10, 0.5)])
    assert found.smallest(0.1) is None


@pytest.mark.parametrize("drop", ["a lot", -0.1, "-1%", float("nan"), "%"])
def test_a_drop_is_a_percentage_or_a_number_not_below_zero(found, drop):
    with pytest.raises(ArgumentError, match="neither a percentage"):
        found.smallest(drop)
    with pytest.raises(ArgumentError, match="neither a percentage"):
        check_drop(drop)


def test_a_trade_off_is_plain_json(found):
    tree = json.loads(json.dumps(found.to_json()))
    assert tree["points"][0]["metrics"][0] == {
        **{"name": "accuracy", "value": 0.7, "low": None, "high": None},
        **{"better": "higher", "per_class": []},
    }
    assert tree["missed"] == [{"name": "1 bits", "reason": "cannot be"}]
    assert tree["original"]["size"] == 1600
