"""A matrix whose scheme names its bits, and so has a dial of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

from taut.calibration.matrix_work import MatrixWork, estimated
from taut.coding import Effort
from taut.errors import ArgumentError
from taut.transform import Rounded

_TURNS = 40


def rounded_to_bits(
    matrix: MatrixWork, at: Callable[[float], Rounded], first: float, effort: Effort
) -> Rounded:
    """The matrix as `at(dial)` rounds it where it takes its scheme's bits per value, or just less.

    The search begins at the dial `first`.

    Raises:
        ArgumentError: no dial leaves anything of it in so few bits; it is named.
    """
    wanted = matrix.scheme.bits or 0.0
    dial, least = first, math.inf
    most, best = 0.0, None
    for _ in range(_TURNS):
        rounded = at(dial)
        bits = 8 * estimated(rounded, effort) / matrix.count
        if 0.99 * wanted <= bits <= wanted:
            return rounded
        least = min(least, bits)
        if most < bits <= wanted and rounded.indices.any():
            most, best = bits, rounded
        dial *= 2.0 ** max(-2.0, min(2.0, (bits - 0.996 * wanted) * (1 if bits > 1 else 2)))
    if best is not None:  # few values, or tables that are most of it
        return best
    raise ArgumentError(
        f'tensor "{matrix.name}": rd:{wanted:g} cannot be met; '
        f"the least found is {least:.3g} bits per value"
    )
