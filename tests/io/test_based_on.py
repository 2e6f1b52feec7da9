"""Sources that stand on another one say what it says, also what is no weight and what was noted."""

import numpy as np
import pytest

from taut.calibration.overlay import Overlay
from taut.io import open_source
from taut.io.based_on import BasedOn
from taut.io.pairs import paired
from taut.io.part_of import PartOf
from taut.io.source import fixed_of, notes_of


class Noted(BasedOn):
    """A source with something to say."""

    fixed = frozenset(["shape"])
    notes = ("read with care",)


WAYS = {
    "overlay": lambda source: Overlay(source, {}),
    "pairs": paired,
    "part": lambda source: PartOf(source, ["w", "shape"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_the_source_beneath_is_lost(way):
    source = Noted()
    source.whole = open_source(
        {"w": np.ones((2, 2), np.complex64), "shape": np.zeros(3, np.float32)}
    )
    made = WAYS[way](source)
    assert fixed_of(made) == {"shape"}
    assert notes_of(made)[0] == "read with care"
    assert (made.files, made.metadata, made.identity) == (
        source.files, source.metadata, source.identity,
    )  # fmt: skip
    assert made.load("shape").tolist() == made.view("shape").tolist() == [0, 0, 0]
