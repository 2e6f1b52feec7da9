"""Flips, McNemar's test and intervals, held to scipy and scikit-learn."""

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.scoring.metrics import score_outcome
from taut.scoring.outcome import read_outcome
from taut.scoring.paired import compare_outcomes

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


def test_values_are_scikit_learns_and_lie_in_their_intervals(rng):
    labels = rng.integers(4, size=600)
    logits = rng.normal(size=(600, 4)) + 2 * np.eye(4)[labels]
    found = score_outcome(read_outcome({"labels": labels, "logits": logits}, "score"))
    held = {one.name: one for one in found.metrics}
    said = logits.argmax(1)
    soft = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert held["f1_macro"].value == metrics.f1_score(labels, said, average="macro")
    assert held["auc"].value == pytest.approx(
        metrics.roc_auc_score(labels, soft, multi_class="ovr")
    )
    assert all(one.low <= one.value <= one.high for one in found.metrics)


def test_flips_are_counted_each_way():
    labels, old, new = [0] * 10, [0] * 9 + [1], [1] * 4 + [0] * 6
    make = [read_outcome({"labels": labels, "predictions": p}, "score") for p in (new, old)]
    pair = compare_outcomes(*make)[0]
    assert (pair.gained, pair.lost, pair.agreement) == (1, 4, 0.5)
    assert pair.p_value == stats.binomtest(4, 5).pvalue
    assert pair.difference == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"labels": [], "predictions": []}, "is empty"),
        ({"labels": [0, 1], "predictions": [0]}, "2 labels and 1 predictions"),
        ({"labels": [0, 1], "logits": [[0.0, np.nan], [1, 2]]}, "not finite at sample 0"),
        ({"labels": [0, 5], "logits": [[0.0, 1], [1, 2]]}, "5 at sample 1 is no class"),
        ({"labels": ["a", "b"], "predictions": [0, 1]}, "texts"),
    ],
)
def test_bad_values_are_told(given, told):
    with pytest.raises(ArgumentError, match=told):
        read_outcome(given, "score")
