"""The first sentence of a page: what may be called a loss, a gain, or neither."""

from dataclasses import replace

import pytest

from taut.reporting.story import Story, TensorCost
from taut.reporting.verdict import verdict_of
from taut.scoring.results import Evaluation, Fidelity, Metric, Paired, Scores, Subject
from taut.sweep.pareto import Point, frontier_of


def judged(name, before, after, low=None, high=None, samples=10_000, better="higher"):
    """A model of an eighth of the bytes with a score before and after."""

    def subject(size, value):
        return Subject("net", size, 400, Scores((Metric(name, value, better=better),), samples))

    pair = Paired(name, after - before, low, high)
    return Evaluation(subject(100, after), subject(800, before), (pair,))


def verdict(evaluation, **more):
    return verdict_of(Story(evaluation=evaluation, **more))


@pytest.mark.parametrize(
    ("low", "high", "headline", "tone"),
    [
        (-0.0015, 0.0019, "no loss that 10,000 samples can show", "good"),
        (-0.008, -0.0001, "a loss of 0.20 points that 10,000 samples show", "bad"),
        (0.0001, 0.004, "a gain of 0.20 points that is hardly chance", "good"),
        (-0.02, 0.01, "10,000 samples cannot exclude a loss of up to 2.00 points", "plain"),
        (0.0, 0.0, "the same on 10,000 samples", "good"),
    ],
)
def test_a_loss_is_one_only_where_chance_does_not_make_it(low, high, headline, tone):
    after = 0.8742 + (0.0 if low <= 0 <= high else 0.002 if low > 0 else -0.002)
    found = verdict(judged("accuracy", 0.8742, after, low, high))
    assert found.headline.startswith("8.00× smaller, accuracy 87.42 → ")
    assert found.headline.endswith(headline)
    assert found.tone == tone


def test_a_metric_that_should_fall_loses_when_it_rises():
    worse = verdict(judged("perplexity", 24.58, 25.58, 0.9, 1.1, 500, "lower"))
    assert (worse.tone, "a loss of 1.00 that 500 samples show" in worse.headline) == ("bad", True)
    better = verdict(judged("perplexity", 24.58, 24.08, -0.6, -0.4, 500, "lower"))
    assert better.tone == "good" and "a gain of 0.50" in better.headline


def test_one_number_is_told_without_a_claim_about_chance():
    found = verdict(judged("spearman", 0.8203, 0.819, samples=None))
    assert found.headline == "8.00× smaller, spearman 0.8203 → 0.8190, 0.0013 lower"
    assert (found.tone, "no interval" in found.because[0]) == ("bad", True)
    same = verdict(judged("score", 3.0, 3.0))
    assert (same.tone, same.headline) == (
        "plain",
        "8.00× smaller, score 3.0000 → 3.0000, unchanged",
    )


def test_a_score_of_the_new_model_alone_says_nothing_of_a_loss():
    metric = Metric("accuracy", 0.9, 0.88, 0.92)
    found = verdict(Evaluation(Subject("net", 100, 400, Scores((metric,), 500))))
    assert found.headline == "100 B, accuracy 90.00 %"
    assert found.because[0] == "95 % interval of 500 samples: 88.00 to 92.00 %."
    assert "original was not judged" in found.because[1]


def test_outputs_stand_in_where_there_is_no_score_and_say_what_they_are_worth():
    near = Evaluation(
        Subject("net", 100, 400), Subject("big", 800, 400), fidelity=Fidelity(1, 0.9, 0.02, 1, None)
    )
    found = verdict(near)
    assert found.headline == "8.00× smaller, outputs within 2.00 % of the original's on 1 sample"
    assert "say little about a score" in found.because[1]
    assert verdict(None, size=100).headline == "100 B; what that costs was not judged"


def tensor(error):
    return TensorCost("w", (100,), "lossless", 400, 200, 16.0, error)


def test_bit_for_bit_is_the_original_unless_another_original_was_judged():
    exact = Story(size=200, original_size=400, tensors=(tensor(0.0),))
    assert verdict_of(exact).headline == "2.00× smaller, bit for bit the original"
    same = replace(exact, evaluation=judged("accuracy", 0.9, 0.9, 0.0, 0.0))
    assert verdict_of(same).headline == "2.00× smaller, bit for bit the original"
    other = replace(exact, evaluation=judged("accuracy", 0.95, 0.9, -0.06, -0.04))
    assert "a loss of 5.00 points" in verdict_of(other).headline
    lossy = replace(exact, tensors=(tensor(0.0), tensor(1e-9)))
    assert "not judged" in verdict_of(lossy).headline
    larger = replace(exact, size=800)
    assert verdict_of(larger).headline.startswith("2.00× larger, ")


def point(name, size, value, low=None, high=None):
    return Point(
        name, "dial", size, 4.0, 800 / size, (Metric("accuracy", value, low, high),), 0.9 - value
    )


def test_a_sweep_answers_what_may_be_lost_or_says_that_nothing_does():
    points = [point("2 bits", 100, 0.8, 0.75, 0.85), point("3 bits", 200, 0.89, 0.86, 0.92)]
    curve = frontier_of("m", "accuracy", point("original", 800, 0.9), points)
    asked = Story(frontier=curve, chosen="3 bits", max_drop="0.02")
    found = verdict_of(asked)
    assert found.headline == "3 bits: 4.00× smaller, accuracy 90.00 → 89.00 %"
    assert found.because[0] == "3 bits is the smallest file with at most 0.02 of accuracy lost."
    assert "86.00 to 92.00 %, holds the original's score" in found.because[1]
    assert "chosen by this very score" in found.because[2]
    none = verdict_of(replace(asked, chosen=None, max_drop="0.001"))
    assert (none.headline, none.tone) == ("No point with at most 0.001 of accuracy lost", "bad")
    assert none.because == ("The least, 1.00 points, is lost by 3 bits at 200 B.",)
    assert verdict_of(Story(frontier=curve)).headline == "What that costs was not judged"
