"""The metric of a stored matrix, as it is found from a network's run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taut.analysis.submatrices import Submatrix


@dataclass(frozen=True)
class Curvature:
    """The metric of one stored matrix (m, n): its first axis by all others.

    `rows` is (m, m), or (m,) for a diagonal; `columns` (n, n), (n,), or (groups, n, n) where the
    rows fall into as many equal runs, each with its own. `mean_input` is the mean of the layer's
    input at live positions (of groups * n values for a grouped convolution), and `bias` the name
    of the parameter that can take up what an error does to it; both None where there is none.
    `kind` is "linear", "embedding", "conv", "conv_transpose", sums of these for a weight used in
    several ways, "gradient" (from gradients of the whole matrix, of a use not recognised), or
    "none" (the loss does not depend on it; all zeros). `stage` counts first uses in the forward
    pass. `notes` are for the user. `swapped`: the first axis takes the inputs, as in `x @ weight`,
    and `mean_input` goes with it.

    Where the rows fall into matrices of their own, `parts` has the metric of each: the experts of a
    layer, stored as one tensor, or the projections of an attention. `rows` (m,) and `columns` (n,)
    are then diagonals that stand for all of them, and m is the number of rows of all parts, which
    may be a multiple of the tensor's first axis.
    """

    rows: NDArray[np.floating]
    columns: NDArray[np.floating]
    mean_input: NDArray[np.float64] | None
    bias: str | None
    positions: int
    samples: int
    kind: str
    stage: int
    notes: tuple[str, ...] = ()
    swapped: bool = False
    parts: tuple[Submatrix, ...] = ()

    def apart(self) -> Iterator[Curvature]:
        """The curvature of each part, or this one if there are none."""
        for one in self.parts:
            yield replace(
                self, rows=one.rows, columns=one.columns, positions=one.positions, parts=()
            )
        if not self.parts:
            yield self
