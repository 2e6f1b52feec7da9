"""How far a score may fall."""

from __future__ import annotations

import math
from dataclasses import dataclass

from taut.errors import ArgumentError


@dataclass(frozen=True)
class Allowed:
    """How far a score may fall: `fraction` of the original's, or `points` of the score itself."""

    text: str
    points: float | None = None
    fraction: float | None = None

    def most(self, score: float) -> float:
        """What may be lost, in the score's own units, where the original has `score`."""
        if self.points is not None:
            return self.points
        return (self.fraction or 0.0) * abs(score)

    def least(self, score: float) -> float:
        """The lowest score allowed, where the original has `score`."""
        return score - self.most(score)


def parse_drop(drop: str | float) -> Allowed:
    """Read what a score may lose: "0.5%" of the original's, or a number of the score's own units.

    >>> parse_drop("1%").least(80.0), parse_drop(0.5).least(80.0)
    (79.2, 79.5)

    Raises ArgumentError.
    """
    text = str(drop).strip()
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ArgumentError(
            f'max_drop: "{drop}" is neither a percentage of the score (0.5%) nor a number (0.005)'
        )
    if text.endswith("%"):
        return Allowed(text, fraction=number)
    return Allowed(text, points=number)
