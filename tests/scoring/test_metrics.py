"""Every metric, held to values computed by hand and to scikit-learn's and scipy's."""

import numpy as np
import pytest

from taut.scoring.metrics import left_out, score_outcome
from taut.scoring.outcome import read_outcome

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")

# Of class 0 three of four are found, of class 1 one of two, of class 2 the one.
TRUTH = [0, 0, 0, 0, 1, 1, 2]
SAID = [0, 0, 0, 1, 1, 2, 2]


def scored(given):
    found = score_outcome(read_outcome(given, "score"))
    return found, {metric.name: metric for metric in found.metrics}


def test_counts_of_classes_by_hand():
    found, held = scored({"labels": TRUTH, "predictions": SAID, "classes": ["cat", "dog", "eel"]})
    assert found.metrics[0].name == "accuracy"
    assert held["accuracy"].value == held["f1_micro"].value == pytest.approx(5 / 7)
    assert held["precision_macro"].per_class == pytest.approx((1, 1 / 2, 1 / 2))
    assert held["recall_macro"].per_class == pytest.approx((3 / 4, 1 / 2, 1))
    assert held["f1_macro"].per_class == pytest.approx((6 / 7, 1 / 2, 2 / 3))
    assert held["f1_macro"].value == pytest.approx((6 / 7 + 1 / 2 + 2 / 3) / 3)
    assert found.confusion == ((3, 1, 0), (0, 1, 1), (0, 0, 1))
    assert found.classes == ("cat", "dog", "eel")
    assert held["f1_macro"].low is None, "seven samples are too few for an interval"


def test_auc_of_two_classes_by_hand():
    """Of four pairs of a positive and a negative, the model orders three."""
    logits = [[0, 0.1], [0, 0.4], [0, 0.35], [0, 0.8]]
    _, held = scored({"labels": [0, 0, 1, 1], "logits": logits})
    assert held["auc"].value == 0.75


def test_eight_classes_are_scikit_learns(rng):
    labels = rng.integers(8, size=400)
    logits = rng.normal(size=(400, 8)) + 1.5 * np.eye(8)[labels]
    _, held = scored({"labels": labels, "logits": logits})
    soft = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    said = logits.argmax(1)
    top = metrics.top_k_accuracy_score(labels, logits, k=5)
    assert held["top5_accuracy"].value == pytest.approx(top)
    auc = metrics.roc_auc_score(labels, soft, multi_class="ovr")
    assert held["auc"].value == pytest.approx(auc)
    assert np.mean(held["auc"].per_class) == pytest.approx(auc)
    for average in ("micro", "macro"):
        wanted = metrics.precision_recall_fscore_support(labels, said, average=average)
        for name, value in zip(("precision", "recall", "f1"), wanted[:3], strict=True):
            assert held[f"{name}_{average}"].value == pytest.approx(value)


def test_one_class_alone_has_no_auc_and_says_so():
    outcome = read_outcome({"labels": [0, 0], "logits": [[1.0, 0], [0, 1]]}, "score")
    assert "auc" not in {metric.name for metric in score_outcome(outcome).metrics}
    assert "all labels are of one class, so there is no AUC" in left_out(outcome)


def test_correlations_are_scipys(rng):
    targets = rng.integers(6, size=200).astype(float)  # with ties, as human scores have
    values = targets + rng.normal(size=200)
    found, held = scored({"targets": targets, "values": values})
    assert [metric.name for metric in found.metrics] == ["spearman", "pearson"]
    assert held["spearman"].value == stats.spearmanr(targets, values).statistic
    assert held["pearson"].value == stats.pearsonr(targets, values).statistic


def test_values_that_are_all_the_same_follow_nothing():
    assert scored({"targets": [0.0, 1, 2], "values": [1, 1, 1]})[1]["spearman"].value == 0


@pytest.mark.parametrize(
    ("given", "notes"),
    [
        (0.5, ["one number has no interval: give labels and logits for one"]),
        (
            {"targets": [0.0, 1, 2], "values": [1, 1, 1]},
            ["all values are the same, which is taken for a correlation of 0"],
        ),
        ({"targets": [0.0, 1, 2], "values": [1, 1, 2]}, []),
        ({"nll": [1.0, 2]}, ["no bytes were given, so there are no bits per byte"]),
        ({"nll": [1.0, 2], "bytes": [3, 4]}, []),
        (
            {"labels": [0, 1] * 10, "predictions": [0, 1] * 10},
            ["no logits were given, so there is no AUC"],
        ),
        (
            {"labels": [0, 1] * 9, "predictions": [0, 1] * 9},
            [
                "no logits were given, so there is no AUC",
                "too few samples a class for intervals of macro averages",
            ],
        ),
        ({"labels": [0, 1] * 10, "logits": [[0.0, 1]] * 20}, []),
        (
            {"labels": [0, 1] * 15, "logits": [[0.0, 1, 2]] * 30},
            ["1 classes have no samples and are left out of the AUC"],
        ),
    ],
)
def test_what_is_left_out_is_told_and_nothing_else(given, notes):
    assert list(left_out(read_outcome(given, "score"))) == notes


def test_perplexity_and_bits_per_byte_by_hand():
    """Three tokens of 1/2 and one of 1/8: 6 bits in all, of 4 tokens and of 12 bytes."""
    given = {"nll": [3 * np.log(2), np.log(8)], "tokens": [3, 1], "bytes": [9, 3]}
    _, held = scored(given)
    assert held["perplexity"].value == pytest.approx(2 ** (6 / 4))
    assert held["bits_per_byte"].value == pytest.approx(6 / 12)
    assert held["perplexity"].better == "lower"
    assert held["perplexity"].low <= held["perplexity"].value <= held["perplexity"].high


def test_numbers_of_the_users_own_come_along_and_keep_their_place():
    found, _ = scored({"f1": 0.5, "labels": TRUTH, "predictions": SAID, "accuracy": 0.25})
    names = [metric.name for metric in found.metrics]
    assert names[:3] == ["f1", "accuracy (own)", "accuracy"]
    assert found.metrics[0].low is None
