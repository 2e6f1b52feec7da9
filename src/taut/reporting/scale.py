"""How a metric is written: fractions of samples in percent, all else in its own units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.reporting import numbers as say
from taut.scoring.classes import FRACTIONS

if TYPE_CHECKING:
    from taut.scoring.results import Metric


@dataclass(frozen=True)
class Scale:
    """What a metric's values are multiplied by to be shown, and the unit that follows them.

    `decimals` are always so many; None leaves it to the number.
    """

    factor: float = 1.0
    unit: str = ""
    points: str = ""
    decimals: int | None = None

    def value(self, number: float) -> str:
        """A value with its unit.

        >>> PERCENT.value(0.8742), OWN.value(24.581)
        ('87.42 %', '24.58')
        """
        return self.bare(number) + (self.unit if say.finite(number) else "")

    def bare(self, number: float) -> str:
        """A value without its unit."""
        return say.score(self.factor * number, self.decimals)

    def pair(self, before: float, after: float) -> str:
        """Two values, the unit told once.

        >>> PERCENT.pair(0.8742, 0.8744), OWN.pair(3.2, 3.25)
        ('87.42 → 87.44 %', '3.2000 → 3.2500')
        """
        return f"{self.bare(before)} → {self.value(after)}"

    def between(self, low: float, high: float) -> str:
        """An interval.

        >>> PERCENT.between(0.8628, 0.8762)
        '86.28 to 87.62 %'
        """
        return f"{self.bare(low)} to {self.value(high)}"

    def change(self, difference: float, base: float) -> str:
        """What a value gained or lost, beside a value `base` that says with how many digits.

        >>> PERCENT.change(-0.0047, 0.8742), OWN.change(0.02, 24.5)
        ('−0.47 points', '+0.02')
        """
        return self.signed(difference, base) + (self.points if say.finite(difference) else "")

    def signed(self, difference: float, base: float) -> str:
        """The change without its unit."""
        return say.change(self.factor * (base + difference), self.factor * base, self.decimals)

    def spread(self, low: float, high: float, base: float) -> str:
        """An interval of a change.

        >>> PERCENT.spread(-0.008, -0.0015, 0.8742)
        '−0.80 to −0.15 points'
        """
        return f"{self.signed(low, base)} to {self.signed(high, base)}{self.points}"

    def amount(self, difference: float, base: float) -> str:
        """The size of a change, whichever way it went.

        >>> PERCENT.amount(-0.0047, 0.8742)
        '0.47 points'
        """
        return self.change(abs(difference), base).lstrip("+")


def named(metric: Metric) -> str:
    """A metric's name in words.

    >>> from taut.scoring.results import Metric
    >>> named(Metric("f1_macro", 0.9)), named(Metric("perplexity", 9.0, better="lower"))
    ('f1 macro', 'perplexity (lower is better)')
    """
    words = metric.name.replace("_", " ")
    return f"{words} (lower is better)" if metric.better == "lower" else words


PERCENT: Final = Scale(100.0, " %", " points", 2)
OWN: Final = Scale()


def scale_of(metric: Metric, *others: float | None) -> Scale:
    """The scale of a metric, with whatever else is shown beside it.

    >>> from taut.scoring.results import Metric
    >>> scale_of(Metric("accuracy", 0.9)) is PERCENT, scale_of(Metric("accuracy", 90.0)) is OWN
    (True, True)
    """
    values = [metric.value, *(one for one in others if one is not None)]
    fraction = metric.name in FRACTIONS and all(0 <= one <= 1 for one in values)
    return PERCENT if fraction else OWN
