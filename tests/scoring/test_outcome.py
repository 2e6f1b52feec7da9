"""What a score may give, and what is said of what it may not."""

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.scoring.outcome import read_outcome


def test_a_number_is_a_score_of_its_own():
    assert dict(read_outcome(0.25, "score").numbers) == {"score": 0.25}
    assert dict(read_outcome(np.float32(2), "score").numbers) == {"score": 2.0}


def test_arrays_lists_and_tensors_are_the_same():
    torch = pytest.importorskip("torch")
    logits = [[0.5, 2.0, 1.0], [3.0, 0.0, -1.0]]
    given = (logits, np.array(logits, np.float32), torch.tensor(logits, dtype=torch.bfloat16))
    for one in given:
        samples = read_outcome({"labels": [1, 0], "logits": one}, "score").samples
        assert samples.predictions.tolist() == [1, 0]
        assert samples.logits.tolist() == logits
        assert samples.classes == ("0", "1", "2")


def test_what_comes_first_decides():
    labels = {"labels": [0, 1], "predictions": [0, 1]}
    assert read_outcome({"loss": 1.0, **labels}, "score").own_first
    assert not read_outcome({**labels, "loss": 1.0}, "score").own_first


def test_predictions_beside_logits_are_the_users_own():
    given = {"labels": [0, 1], "logits": [[0.0, 1], [0, 1]], "predictions": [0, 1]}
    assert read_outcome(given, "score").samples.predictions.tolist() == [0, 1]


def test_minus_infinity_rules_a_class_out():
    samples = read_outcome({"labels": [1], "logits": [[-np.inf, 0.0]]}, "score").samples
    assert np.isfinite(samples.logits).all()
    assert samples.predictions.tolist() == [1]


LABELS = {"labels": [0, 1]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0.9", "gave a str; it must give one number"),
        (None, "gave a NoneType"),
        (float("nan"), "gave nan; it must give a finite number"),
        (np.array([1.0, 2.0]), "several numbers"),
        ({}, "empty dict"),
        ({"accuracy": "good"}, '"accuracy": gave a str'),
        ({"logits": [[0.0, 1], [1, 0]]}, 'give "labels" too'),
        ({"lables": [0, 1]}, '"lables" is an array.*nearest: labels'),
        (LABELS, 'give "logits" \\(or "predictions"\\) too'),
        ({**LABELS, "logits": [[0.0, 1]]}, "2 labels and 1 logits"),
        ({**LABELS, "logits": [0.0, 1]}, "has shape \\[2\\]; give \\(samples, classes\\)"),
        ({**LABELS, "logits": [[0.0, 1], [2]]}, "the rows differ in length"),
        ({**LABELS, "logits": [[0.0, 1], [np.inf, 0]]}, "not finite at sample 1"),
        ({"labels": [0, -1], "predictions": [0, 0]}, "-1 at sample 1 is no class"),
        ({"labels": [0.5, 1], "predictions": [0, 0]}, "are no integers"),
        ({**LABELS, "predictions": [0, 1], "classes": ["a"]}, "1 at sample 1 is no class"),
        ({**LABELS, "predictions": [0, 1], "classes": ["a", "a"]}, "a name comes twice"),
        ({**LABELS, "values": [0.0, 1]}, "are of two kinds"),
        ({"targets": [0.0, 1], "values": [np.nan, 1]}, "values: is nan at sample 0"),
        ({"targets": [1.0, 1], "values": [0.0, 1]}, "all targets are 1"),
        ({"targets": [0.0, 1]}, 'give "values" too'),
        ({"nll": [1.0, -1]}, "nll is -1 at sample 1; give -log p"),
        ({"nll": [1.0, 1], "tokens": [0, 0]}, "tokens are counts"),
        ({"nll": []}, "nll: is empty"),
    ],
)
def test_what_is_no_score_is_told(given, told):
    with pytest.raises(ArgumentError, match=f"^score: .*{told}"):
        read_outcome(given, "score")
