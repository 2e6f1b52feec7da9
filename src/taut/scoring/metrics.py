"""From what a score gave to metrics with intervals; scikit-learn's and scipy's values.

Values come from scikit-learn and scipy. Only the resampled ones, of which there are a thousand,
are computed here, from counts and ranks (`intervals.py`); tests hold the two to each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from taut.scoring.checked import Floats, Integers
from taut.scoring.classes import FEWEST, TOP, accuracy, class_metrics, confusion
from taut.scoring.extra import need_eval
from taut.scoring.intervals import Ranked, bootstrap, interval, pearson, spearman
from taut.scoring.outcome import Classified, Likely, Outcome, Samples, Valued
from taut.scoring.results import Metric, Scores

_CONFUSION: Final = 100  # classes: a larger table is nothing to read
_SORTED: Final = 40  # steps of a resample for each sample of a correlation


def score_outcome(outcome: Outcome, *, seed: int = 0) -> Scores:
    """All metrics of an outcome, the deciding one first, with 95 % percentile bootstrap intervals.

    Classes: accuracy, top5_accuracy (of more than five classes), precision, recall and f1 as
    _micro and as _macro (with the values per class), auc (of logits; one class against the rest
    where there are more than two). Numbers: spearman, pearson. Likelihoods: perplexity,
    bits_per_byte. Numbers of the user's own come without an interval.

    Raises:
        ArgumentError: scikit-learn or scipy are missing, and there are samples.

    >>> from taut.scoring.outcome import read_outcome
    >>> outcome = read_outcome({"labels": [0, 1] * 50, "predictions": [0, 1, 0, 0] * 25}, "score")
    >>> score_outcome(outcome).metrics[0]
    Metric(name='accuracy', value=0.75, low=0.67, high=0.83, better='higher', per_class=())
    """
    samples = outcome.samples
    found = () if samples is None else tuple(_metrics(samples, seed))
    taken = {metric.name for metric in found}
    own = tuple(
        Metric(f"{name} (own)" if name in taken else name, value)
        for name, value in outcome.numbers.items()
    )
    metrics = (*own, *found) if outcome.own_first else (*found, *own)
    if not isinstance(samples, Classified):
        return Scores(metrics, None if samples is None else len(samples))
    table = confusion(samples) if len(samples.classes) <= _CONFUSION else ()
    return Scores(metrics, len(samples), samples.classes, table)


def deciding(outcome: Outcome) -> Metric:
    """The metric that decides, without an interval: all that a search for a score needs."""
    samples = outcome.samples
    if samples is None or (outcome.own_first and outcome.numbers):
        name, value = next(iter(outcome.numbers.items()))
        return Metric(name, value)
    if isinstance(samples, Classified):
        return accuracy(samples)
    if isinstance(samples, Valued):
        return Metric("spearman", correlation("spearman", samples))
    name, below = next(iter(rates(samples).items()))
    return Metric(name, float(rate(name, samples.nll.sum(), below.sum())), better="lower")


def left_out(outcome: Outcome) -> tuple[str, ...]:
    """What could not be had of an outcome, a sentence each, with the reason."""
    samples = outcome.samples
    if samples is None:
        return ("one number has no interval: give labels and logits for one",)
    if isinstance(samples, Classified):
        return tuple(_left_out_of_classes(samples))
    if isinstance(samples, Valued) and _constant(samples):
        return ("all values are the same, which is taken for a correlation of 0",)
    if isinstance(samples, Likely) and samples.bytes is None:
        return ("no bytes were given, so there are no bits per byte",)
    return ()


def _left_out_of_classes(samples: Classified) -> Iterator[str]:
    number = len(samples.classes)
    missing = number - len(np.unique(samples.labels))
    if samples.logits is None:
        top = f" and no top-{TOP}" if number > TOP else ""
        yield f"no logits were given, so there is no AUC{top}"
    elif missing == number - 1:
        yield "all labels are of one class, so there is no AUC"
    elif missing:
        yield f"{missing} classes have no samples and are left out of the AUC"
    if len(samples) < FEWEST * number:
        yield "too few samples a class for intervals of macro averages"
    if number > _CONFUSION:
        yield f"of {number} classes no confusion matrix is kept"


def correlation(name: str, samples: Valued) -> float:
    """Spearman's or Pearson's; 0 of values that are all the same, as they follow nothing."""
    if _constant(samples):
        return 0.0
    stats = need_eval("scipy.stats")
    found = (stats.spearmanr if name == "spearman" else stats.pearsonr)(
        samples.targets, samples.values
    )
    return float(found.statistic)


def rates(samples: Likely) -> dict[str, Integers]:
    """The metrics of likelihoods, and what each divides by, one a sample."""
    tokens = np.ones(len(samples), np.int64) if samples.tokens is None else samples.tokens
    found = {"perplexity": tokens}
    return found if samples.bytes is None else {**found, "bits_per_byte": samples.bytes}


def rate(name: str, nll: Floats | np.floating, below: Floats | np.integer) -> Floats:
    """Perplexity of nats per token, or bits per byte of nats per byte."""
    mean = np.asarray(nll / np.maximum(below, 1))
    return np.asarray(np.exp(mean) if name == "perplexity" else mean / np.log(2))


def names_of(samples: Valued | Likely) -> tuple[str, ...]:
    """The metrics that such samples have, the deciding one first."""
    return ("spearman", "pearson") if isinstance(samples, Valued) else tuple(rates(samples))


def drawn(name: str, samples: Valued | Likely, seed: int) -> Floats | None:
    """A metric in every resample; the resamples are the same for all samples of one number."""
    if isinstance(samples, Likely):
        below = rates(samples)[name].astype(np.float64)
        return bootstrap(len(samples), lambda w: rate(name, w @ samples.nll, w @ below), seed)
    x, y = samples.targets, samples.values
    if name == "pearson":
        return bootstrap(len(x), lambda w: pearson(x, y, w), seed, _SORTED)
    rx, ry = Ranked(x), Ranked(y)
    return bootstrap(len(x), lambda w: spearman(rx, ry, w), seed, _SORTED)


def point(name: str, samples: Valued | Likely) -> float:
    """A metric of all samples."""
    if isinstance(samples, Valued):
        return correlation(name, samples)
    return float(rate(name, samples.nll.sum(), rates(samples)[name].sum()))


def _metrics(samples: Samples, seed: int) -> Iterator[Metric]:
    if isinstance(samples, Classified):
        yield from class_metrics(samples, seed)
        return
    for name in names_of(samples):
        found = drawn(name, samples, seed)
        low, high = (None, None) if found is None else interval(found)
        better = "lower" if isinstance(samples, Likely) else "higher"
        yield Metric(name, point(name, samples), low, high, better)  # type: ignore[arg-type]


def _constant(samples: Valued) -> bool:
    return bool((samples.values == samples.values[0]).all())
