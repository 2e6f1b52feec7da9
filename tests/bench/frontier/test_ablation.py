"""What a part is worth, and what is left of a metric without gradients."""

import numpy as np
import pytest

from bench.frontier.ablation import no_gradients, one_number, with_worth
from taut.analysis import Curvature


def row(part, bits, loss):
    return {"part": part, "bits": bits, "loss": loss}


def test_worth_is_what_the_whole_method_would_save_at_the_loss_without_the_part():
    rows = [row("all", 2.0, 0.01), row("all, a quarter of a bit less", 1.75, 0.01 * 2**0.5)]
    worth = {r["part"]: r["worth"] for r in with_worth([*rows, row("without", 2.1, 0.04)], "loss")}
    assert worth["all"] == pytest.approx(0)
    # The slope is two octaves a bit: the whole method has four times the loss at 1 bit less.
    assert worth["without"] == pytest.approx(1.1)


def test_nothing_is_worth_anything_without_a_slope():
    assert "worth" not in with_worth([row("all", 2.0, 0.01)], "loss")[0]


def test_without_gradients_the_side_of_the_outputs_says_nothing():
    rows, columns = np.diag([1.0, 3.0]), np.diag([1.0, 2.0, 6.0])
    linear = Curvature(rows, columns, None, None, 40, 10, "linear", 0)
    assert one_number(linear, 4.0).rows.tolist() == [2, 2]
    assert one_number(linear, 4.0).columns is columns
    bare = no_gradients(linear, 4.0)
    # The relative error of the output: over the mean square of weights and of inputs.
    assert bare.rows.tolist() == [0.25, 0.25]
    assert np.diag(bare.columns).tolist() == pytest.approx([1 / 3, 2 / 3, 2])
    embedding = Curvature(np.array([5.0, 1.0]), columns, None, None, 40, 10, "embedding", 0)
    assert one_number(embedding, 4.0).columns.tolist() == [3, 3, 3]
    assert one_number(embedding, 4.0).rows.tolist() == [5, 1]
    assert no_gradients(embedding, 0.5).columns.tolist() == [1, 1, 1]
    assert no_gradients(embedding, 0.5).rows.tolist() == pytest.approx([10 / 3, 2 / 3])
