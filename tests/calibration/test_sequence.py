"""Block after block: what belongs together, and which curvature follows the compressed network."""

from dataclasses import replace

import numpy as np
import pytest

from taut.analysis import Curvature
from taut.analysis.layer_inputs import Inputs
from taut.calibration.sequence import blocks_of, seen, share_of

torch = pytest.importorskip("torch")

LINEAR = Curvature(np.eye(2), np.eye(3), None, None, 10, 10, "linear", 0)


def test_blocks_come_in_the_order_of_first_use():
    stages = {"layer.1.b": 4, "layer.0.a": 2, "head.weight": 9, "layer.0.b": 1, "layer.10.a": 5}
    assert blocks_of(stages) == [
        ["layer.0.b", "layer.0.a"],
        ["layer.1.b"],
        ["layer.10.a"],
        ["head.weight"],
    ]


def test_the_inputs_side_is_replaced():
    moment = np.diag([1.0, 2.0, 3.0])
    found = seen(LINEAR, Inputs(moment, swapped=False, positions=10))
    assert found is not None
    assert found.columns is moment
    assert found.rows is LINEAR.rows


def test_the_rows_side_where_the_weight_is_swapped():
    moment = np.diag([1.0, 2.0])
    found = seen(LINEAR, Inputs(moment, swapped=True, positions=10))
    assert found is not None
    assert found.rows is moment


def test_what_does_not_fit_keeps_its_curvature():
    assert seen(LINEAR, None) is None
    assert seen(None, Inputs(np.eye(3), swapped=False, positions=10)) is None
    assert seen(LINEAR, Inputs(np.eye(4), swapped=False, positions=10)) is None
    assert (
        seen(
            replace(LINEAR, kind="linear+embedding"), Inputs(np.eye(3), swapped=False, positions=10)
        )
        is None
    )
    assert (
        seen(replace(LINEAR, columns=np.ones(3)), Inputs(np.eye(3), swapped=False, positions=10))
        is None
    )


def test_where_most_positions_do_not_count_gradients_tell_which():
    """A network that classifies by one token: what its last layer makes of others is not used."""
    all_of_them = Inputs(np.eye(3), swapped=False, positions=40)
    assert seen(LINEAR, all_of_them) is None
    half = share_of([torch.ones(3, 4)], [torch.ones(4, 4), torch.ones(2, 4)])
    assert half == 0.5
    assert seen(replace(LINEAR, positions=80), all_of_them, half) is not None
    assert seen(replace(LINEAR, positions=60), all_of_them, half) is None
