"""Equal tensors are stored once unless they were rounded to other grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taut.container import Layout, Origin
from taut.encoding.model import fill
from taut.io import open_source
from taut.scheme import Scheme
from taut.transform import Grid


@dataclass
class Grids:
    """Gives each tensor the grid that it has."""

    grids: dict[str, Grid]

    def __call__(self, info, values, scheme):
        return self.grids.get(info.name)


def test_equal_tensors_of_other_grids_are_stored_each():
    ones = np.ones((8, 64), np.float32)
    source = open_source({"a": ones, "b": ones.copy(), "c": ones.copy()})
    same, other = (Grid(np.ones((8, 64), np.int32), step=step) for step in (1.0, 0.5))
    equal = Grid(np.ones((8, 64), np.int32), step=1.0)
    sizes = {}
    for third in (same, equal, other):
        layout = Layout(Origin(source.nbytes), source.infos, effort="fast", threads=1)
        quantize = Grids({"a": same, "b": same, "c": third})
        schemes = dict.fromkeys("abc", Scheme("int8", per_tensor=True))
        fill(layout, source, schemes, effort="fast", threads=1, quantize=quantize)
        layout.close()
        sizes[id(third)] = layout.size
    assert sizes[id(same)] == sizes[id(equal)] < sizes[id(other)]
