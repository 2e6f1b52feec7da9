"""The weight of a bit: it rises while the file is too large, and the course ends at the target."""

import math

import pytest

from taut.training.budget import Budget


def test_the_course_leads_evenly_in_the_logarithm_to_the_target():
    budget = Budget(target=1000.0, ramp=0.5, other=90.0)
    budget.look(9000.0, 0.0, 100)
    assert budget.course(0.0) == pytest.approx(9000)
    assert budget.course(0.25) == pytest.approx(math.sqrt(9000 * 900))
    for progress in (0.5, 0.8, 1.0):
        assert budget.course(progress) == pytest.approx(0.99 * 1000 - 90)


def test_the_price_follows_the_excess():
    budget = Budget(target=1000.0, ramp=0.1)
    budget.look(1000.0, 1.0, 100)
    prices = []
    for spent in (2000.0, 2000.0, 1000.0, 500.0, 500.0):
        budget.look(spent, 1.0, 100)
        prices.append(budget.price)
    assert prices[0] < prices[1] > prices[2] > prices[3] > prices[4] > 0
    assert prices[1] / prices[0] == pytest.approx(math.exp(0.04))


def test_it_steers_a_size_that_answers_to_the_price():
    """A plant whose bits fall with the price, slowly, as a network's do."""
    budget, bits = Budget(target=2000.0, ramp=0.3), 10_000.0
    for number in range(600):
        budget.look(bits, number / 600, 1000)
        bits += 0.05 * (10_000 / (1 + 2e3 * budget.price) - bits)
    assert bits == pytest.approx(0.99 * 2000, rel=0.05)


def test_more_is_spent_elsewhere_than_there_is():
    budget = Budget(target=100.0, ramp=0.5, other=500.0)
    budget.look(4000.0, 1.0, 10)
    assert budget.course(1.0) == pytest.approx(64)
    assert math.isfinite(budget.price) and budget.price > 0
