"""Block after block: what belongs together, and which curvature follows the compressed network."""

from dataclasses import replace

import numpy as np

from taut.analysis import Curvature
from taut.analysis.layer_inputs import Inputs
from taut.calibration.sequence import blocks_of, seen

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
    found = seen(LINEAR, Inputs(moment, swapped=False))
    assert found is not None
    assert found.columns is moment
    assert found.rows is LINEAR.rows


def test_the_rows_side_where_the_weight_is_swapped():
    moment = np.diag([1.0, 2.0])
    found = seen(LINEAR, Inputs(moment, swapped=True))
    assert found is not None
    assert found.rows is moment


def test_what_does_not_fit_keeps_its_curvature():
    assert seen(LINEAR, None) is None
    assert seen(None, Inputs(np.eye(3), swapped=False)) is None
    assert seen(LINEAR, Inputs(np.eye(4), swapped=False)) is None
    assert seen(replace(LINEAR, kind="linear+embedding"), Inputs(np.eye(3), swapped=False)) is None
    assert seen(replace(LINEAR, columns=np.ones(3)), Inputs(np.eye(3), swapped=False)) is None
