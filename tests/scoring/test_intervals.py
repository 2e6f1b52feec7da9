"""Intervals are those of scipy's percentile bootstrap, and depend on the seed alone."""

import numpy as np
import pytest

from taut.scoring.metrics import score_outcome
from taut.scoring.outcome import read_outcome

pytest.importorskip("sklearn")
stats = pytest.importorskip("scipy.stats")


def bounds(given, name, seed=0):
    found = score_outcome(read_outcome(given, "score"), seed=seed)
    (metric,) = (one for one in found.metrics if one.name == name)
    return metric.low, metric.high


def scipys(arrays, statistic, **options):
    """The mean of a few of scipy's intervals, each of a thousand resamples."""
    every = [
        stats.bootstrap(
            arrays, statistic, paired=True, n_resamples=1000, method="percentile",
            rng=np.random.default_rng(seed), **options,
        ).confidence_interval
        for seed in range(2)
    ]  # fmt: skip
    return np.mean(every, axis=0)


def test_accuracy(rng):
    labels = rng.integers(3, size=400)
    said = np.where(rng.random(400) < 0.8, labels, rng.integers(3, size=400))
    wanted = scipys(((labels == said).astype(float),), np.mean)
    assert bounds({"labels": labels, "predictions": said}, "accuracy") == pytest.approx(
        wanted, abs=0.004
    )


def test_macro_f1(rng):
    labels = rng.integers(3, size=400)
    said = np.where(rng.random(400) < 0.8, labels, rng.integers(3, size=400))
    wanted = scipys(
        (labels, said),
        lambda a, b: np.mean(
            [2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum()) for c in range(3)]
        ),
        vectorized=False,
    )
    assert bounds({"labels": labels, "predictions": said}, "f1_macro") == pytest.approx(
        wanted, abs=0.006
    )


def test_auc(rng):
    labels = rng.integers(2, size=300)
    logits = np.stack([np.zeros(300), labels + rng.normal(size=300).round(1)], 1)  # with ties

    def area(a, b):
        ones = a.sum()
        above = stats.rankdata(b)[a == 1].sum() - ones * (ones + 1) / 2
        return above / (ones * (len(a) - ones))

    wanted = scipys((labels, logits[:, 1]), area, vectorized=False)
    assert bounds({"labels": labels, "logits": logits}, "auc") == pytest.approx(wanted, abs=0.006)


def test_spearman(rng):
    targets = rng.integers(6, size=300).astype(float)
    values = targets + 2 * rng.normal(size=300)
    wanted = scipys(
        (targets, values),
        lambda a, b: np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1],
        vectorized=False,
    )
    found = bounds({"targets": targets, "values": values}, "spearman")
    assert found == pytest.approx(wanted, abs=0.008)


def test_perplexity(rng):
    nll = rng.exponential(2, size=500)
    wanted = scipys((nll,), lambda a, axis: np.exp(a.mean(axis)))
    assert bounds({"nll": nll}, "perplexity") == pytest.approx(wanted, rel=0.01)


def test_the_seed_decides(rng):
    given = {"nll": rng.exponential(2, size=100)}
    assert bounds(given, "perplexity", 1) == bounds(given, "perplexity", 1)
    assert bounds(given, "perplexity", 1) != bounds(given, "perplexity", 2)
