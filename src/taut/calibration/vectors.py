"""Biases, norms and statistics as they are to be written beside rounded matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from taut.calibration.overlay import Overlay
from taut.io import Source


@dataclass(frozen=True)
class Vectors:
    """Tensors that have other `values` than the source, each in its dtype and shape.

    `dial` is the dial whose matrices they were finished for, None if they were not finished; `note`
    says what went otherwise than asked.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    dial: float | None = None
    note: str = ""

    def over(self, source: Source) -> Source:
        """The source with these values."""
        return Overlay(source, self.values) if self.values else source


AS_GIVEN = Vectors()
"""The vectors of the source."""
