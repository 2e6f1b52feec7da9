"""The first sentence of a page: how much smaller, at what cost, and how sure that is.

A change is called a loss only where the 95 % interval of the paired difference leaves out 0; where
it does not, the sentence says what that many samples would have missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from taut.reporting import numbers as say
from taut.reporting.choice import choice_of
from taut.reporting.scale import Scale, named, scale_of

if TYPE_CHECKING:
    from taut.reporting.story import Story
    from taut.scoring.results import Evaluation, Fidelity, Metric, Paired, Scores

_MISSED: Final = 0.01  # of the original's score: a larger loss that may be hidden is told first
Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Verdict:
    """A headline, whether it is welcome, and what has to be known beside it, a sentence each."""

    headline: str
    tone: Tone = "plain"
    because: tuple[str, ...] = ()


def verdict_of(story: Story) -> Verdict:
    """What a story comes to.

    >>> from taut.reporting.story import Story
    >>> verdict_of(Story(size=100_000, original_size=800_000)).headline
    '8.00× smaller; what that costs was not judged'
    """
    story = story.completed()
    cost = _cost(story)
    size = _smaller(story)
    if not size:
        return Verdict(say.capital(cost.headline), cost.tone, cost.because)
    joint = "; " if cost.headline == _UNKNOWN else ", "
    choice = None if _scores(story) else choice_of(story)
    named = f"{choice.point.name}: " if choice is not None and choice.point is not None else ""
    return Verdict(f"{named}{size}{joint}{cost.headline}", cost.tone, cost.because)


def _scores(story: Story) -> bool:
    """Whether the model itself was judged."""
    found = story.evaluation
    return bool(found and found.model.scores and found.model.scores.metrics)


def _smaller(story: Story) -> str:
    """The size in a few words; "" where it is not known."""
    if story.size is None:
        return ""
    if story.ratio is None or not story.original_size:
        return say.size(story.size)
    if story.ratio >= 1:
        return f"{say.digits(story.ratio)}× smaller" if story.ratio > 1 else "No smaller"
    return f"{say.digits(1 / story.ratio)}× larger"


def _cost(story: Story) -> Verdict:
    found = story.evaluation
    scored = _scores(story)
    if story.lossless and not _differs(found if scored else None):
        return _exact(found if scored else None)
    if found is not None and scored:
        return scored_verdict(found)
    chosen = choice_of(story)
    if chosen is not None:
        return Verdict(chosen.cost, chosen.tone, chosen.because)
    if found is not None and found.fidelity is not None:
        return _near(found.fidelity)
    return Verdict(_UNKNOWN, "plain", (_ASK,))


_UNKNOWN: Final = "what that costs was not judged"
_ASK: Final = "Give a score function (taut eval --score) to know what the model lost, and how sure."


def _differs(found: Evaluation | None) -> bool:
    """Whether the original was judged, with another score: then it is some other model."""
    before = None if found is None else _before(found)
    return found is not None and before is not None and before.value != _first(found).value


def _exact(found: Evaluation | None) -> Verdict:
    """All values are the original's, so that a score can only say so."""
    because = "Every value of the file is the original's, bit for bit: nothing can be lost."
    if found is None:
        return Verdict("bit for bit the original", "good", (because,))
    metric = _first(found)
    told = f"The score, {metric.name} {scale_of(metric).value(metric.value)}, is the original's."
    return Verdict("bit for bit the original", "good", (because, told))


def scored_verdict(found: Evaluation) -> Verdict:
    """What the first metric of an evaluation says of a change."""
    metric, before, pair = _first(found), _before(found), _pair(found)
    if before is None and pair is None:
        return _alone(metric, found.model.scores)
    old = before.value if before is not None else metric.value - (pair.difference if pair else 0)
    scale = scale_of(metric, old)
    told = f"{named(metric)} {scale.pair(old, metric.value)}"
    if pair is None or pair.low is None or pair.high is None:
        return _unsure(told, metric, old, scale)
    return _sure(_Change(told, metric, old, scale, pair.low, pair.high), found)


@dataclass(frozen=True)
class _Change:
    """A metric before and after in words, with the 95 % interval of what it gained."""

    told: str
    metric: Metric
    old: float
    scale: Scale
    low: float
    high: float

    @property
    def worst(self) -> float:
        """The largest loss that the interval allows, 0 if none."""
        return max(0.0, -self.low if self.metric.better == "higher" else self.high)

    @property
    def least(self) -> float:
        """The smallest loss that the interval allows."""
        return -self.high if self.metric.better == "higher" else self.low

    @property
    def spread(self) -> str:
        """The interval in words."""
        return self.scale.spread(self.low, self.high, self.old)


def _sure(found: _Change, evaluation: Evaluation) -> Verdict:
    """A change of which it is known how far chance may have made it."""
    samples = _samples(evaluation)
    pair = f"The 95 % interval of the change, on the same samples, is {found.spread}."
    if found.low <= 0 <= found.high:
        return _not_told_apart(found, samples, pair)
    amount = found.scale.amount(found.metric.value - found.old, found.old)
    if found.least > 0:
        told = f"{found.told}, a loss of {amount} that {samples or 'the samples'} show"
        return Verdict(told, "bad", (pair,))
    return Verdict(f"{found.told}, a gain of {amount} that is hardly chance", "good", (pair,))


def _not_told_apart(found: _Change, samples: str, pair: str) -> Verdict:
    """Chance explains the change; how large a loss may hide depends on the samples."""
    worst = found.scale.amount(found.worst, found.old)
    judges = samples or "these samples"
    if not found.worst:
        return Verdict(f"{found.told}, the same on {judges}", "good", (pair,))
    if found.worst > _MISSED * abs(found.old):
        told = f"{found.told}; {judges} cannot exclude a loss of up to {worst}"
        return Verdict(told, "plain", (pair, "More samples would tell."))
    told = f"{found.told}, no loss that {judges} can show"
    return Verdict(told, "good", (pair, f"A loss of more than {worst} is unlikely."))


def _unsure(told: str, metric: Metric, old: float, scale: Scale) -> Verdict:
    """A change of numbers that have no interval."""
    doubt = (
        "The score gives one number, which has no interval: whether the change is chance is not "
        "known. A score that gives labels and logits has one."
    )
    if metric.value == old:
        return Verdict(f"{told}, unchanged", "plain", (doubt,))
    worse = (metric.value < old) == (metric.better == "higher")
    word = "lower" if metric.value < old else "higher"
    amount = scale.amount(metric.value - old, old)
    return Verdict(f"{told}, {amount} {word}", "bad" if worse else "plain", (doubt,))


def _alone(metric: Metric, scores: Scores | None) -> Verdict:
    """A score without the original's."""
    scale = scale_of(metric)
    told = f"{named(metric)} {scale.value(metric.value)}"
    because = ["The original was not judged, so that a loss is not known."]
    if metric.low is not None and metric.high is not None:
        samples = f" of {say.exact(scores.samples)} samples" if scores and scores.samples else ""
        because.insert(0, f"95 % interval{samples}: {scale.between(metric.low, metric.high)}.")
    return Verdict(told, "plain", tuple(because))


def _near(found: Fidelity) -> Verdict:
    samples = f"{say.exact(found.samples)} {'sample' if found.samples == 1 else 'samples'}"
    told = f"outputs within {say.percent(found.rel_mse)} of the original's on {samples}"
    return Verdict(
        told,
        "plain",
        (
            f"Squared error over squared values; the mean cosine is {say.cosine(found.cosine)}.",
            "Outputs that stay near say little about a score: " + _ASK[0].lower() + _ASK[1:],
        ),
    )


def _samples(found: Evaluation) -> str:
    number = found.model.scores.samples if found.model.scores else None
    return f"{say.exact(number)} samples" if number else ""


def _first(found: Evaluation) -> Metric:
    assert found.model.scores is not None
    return found.model.scores.metrics[0]


def _before(found: Evaluation) -> Metric | None:
    old = found.original.scores if found.original is not None else None
    name = _first(found).name
    return next((one for one in old.metrics if one.name == name), None) if old else None


def _pair(found: Evaluation) -> Paired | None:
    return next((one for one in found.paired if one.metric == _first(found).name), None)
