"""A source with other values in some tensors is a source like any."""

import numpy as np

from taut.calibration.overlay import Overlay
from taut.io import open_source


def test_only_the_values_given_differ(rng):
    torch_like = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
    source = open_source(torch_like)
    over = Overlay(source, {"b": np.zeros(5)})
    np.testing.assert_array_equal(over.load("a"), torch_like["a"])
    assert not over.load("b").any()
    for name in ("infos", "aliases", "files", "metadata", "nbytes", "companions", "identity"):
        assert getattr(over, name) == getattr(source, name)
