"""What a curve says between its points, and what it does not say beyond them."""

import pytest

from bench.frontier.curves import bits_at, by_curve, comparison, goals
from bench.subjects.subject import Asked

FALLING = [(2.0, 0.1), (3.0, 0.01), (4.0, 0.001)]


def test_bits_are_linear_in_the_logarithm_of_the_loss():
    assert bits_at(FALLING, 10**-1.5, 1e-6) == pytest.approx(2.5)
    assert bits_at(FALLING, 0.01, 1e-6) == pytest.approx(3.0)


def test_nothing_is_said_outside_of_what_was_measured():
    assert bits_at(FALLING, 0.2, 1e-6) is None
    assert bits_at(FALLING, 1e-4, 1e-6) is None
    assert bits_at([], 0.1, 1e-6) is None


def test_points_that_cost_more_and_lose_more_are_no_part_of_the_curve():
    assert bits_at([*FALLING, (3.5, 0.5)], 10**-2.5, 1e-6) == pytest.approx(3.5)


def test_a_loss_below_the_floor_counts_as_the_floor():
    assert bits_at([(2.0, 1.0), (4.0, -0.05)], 0.1, 0.01) == pytest.approx(3.0)


def test_a_goal_may_be_a_share_of_a_peers_bits_at_its_loss():
    rows = [{"codec": "peer", "curve": "p", "bits": 4.0, "loss": 0.01}]
    assert goals(rows, "loss", [Asked(peer="peer", share=0.6), Asked(2.0, 0.3)]) == [
        (2.4, 0.01),
        (2.0, 0.3),
    ]


def test_the_comparison_ends_with_what_is_asked():
    rows = [{"codec": str(b), "curve": "c", "bits": b, "loss": e} for b, e in FALLING]
    rows.append({"codec": "broken", "curve": "d", "error": "no"})
    columns, table = comparison(rows, "loss", [Asked(2.5, 0.01)], 1e-6)
    assert list(columns.values()) == ["bits at a loss of", "0.01"]
    assert [row["0"] for row in table] == [pytest.approx(3.0), 2.5]


def test_rows_of_later_runs_join_their_curve():
    rows = [{"codec": i, "curve": c} for i, c in enumerate("abcab")]
    assert [row["codec"] for row in by_curve(rows)] == [0, 3, 1, 4, 2]
