"""Where the steps of a calibrated run end."""

from __future__ import annotations

from dataclasses import dataclass

from taut.calibration.search import Try
from taut.calibration.vectors import Vectors


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The dial that was found, with its vectors, and the scores that were taken on the way."""

    dial: float
    vectors: Vectors
    original_score: float | None = None
    score: float | None = None
    tries: tuple[Try, ...] = ()
    notes: tuple[str, ...] = ()
