"""What coding would take, from tables where these tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from taut.coding import Effort, estimate_indices, estimate_matrix
from taut.encoding.choose_coder import FINE_BITS, coded_smallest
from taut.transform import Indices, Rounded, sample_rows

_SAMPLE = 1 << 16  # values


def estimate_smallest(found: Indices | Rounded, *, effort: Effort = "max") -> float:
    """Bytes of `coded_smallest` as float32, from tables without coding where these tell."""
    if isinstance(found, Rounded):
        count = found.indices.size
        taken = estimate_matrix(
            found.indices,
            trellis=found.trellis,
            row_exponents=found.row_exponents,
            column_exponents=found.column_exponents,
            effort=effort,
        )
        if found.basis is not None:
            taken += estimate_smallest(found.basis, effort=effort)
    else:
        count, taken = found.values.size, estimate_indices(found.values, effort=effort)
    if 8 * taken <= FINE_BITS * count:
        return taken
    if isinstance(found, Indices):  # the slow coder: some rows of them
        found = replace(found, values=sample_rows(found.values, _SAMPLE))
        size = found.values.size
    else:
        size = count
    coded = coded_smallest(found, np.dtype(np.float32), effort=effort).nbytes
    return min(taken, coded * count / size)  # tables leave out some bytes of every array
