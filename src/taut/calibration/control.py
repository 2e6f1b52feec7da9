"""The dial as a controller: turned a little after every block, so that the size comes out.

Rate curves from sampled rows say what every matrix takes at a dial. What the blocks so far took
beside what was expected of them corrects the curves of those to come, and the dial is set to where
these fill the room that is left. A percent of the dial costs nothing: slopes stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

Estimates = Callable[[float], Mapping[str, float]]

_PER_OCTAVE = 4  # points of a curve
_PRIOR = 0.1  # of all bytes: how much what was expected is believed beside what was seen
_MOST = 0.15  # octaves that the dial is turned by after a block, but for the last


class RateCurves:
    """Bytes of each matrix by the dial, from `estimates`: exact at each quarter octave."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates
        self._points: dict[int, Mapping[str, float]] = {}

    def bytes_of(self, names: Collection[str], x: float) -> float:
        """Bytes of some matrices at a dial of 2^x, in a line between two points."""
        low = math.floor(x * _PER_OCTAVE)
        share = x * _PER_OCTAVE - low
        one, other = self._at(low), self._at(low + 1)
        return sum((1 - share) * one[name] + share * other[name] for name in names)

    def _at(self, point: int) -> Mapping[str, float]:
        if point not in self._points:
            self._points[point] = self._estimates(2.0 ** (point / _PER_OCTAVE))
        return self._points[point]


class DialControl:
    """Sets the dial for what is left of `room` bytes; `counts` are the values of all matrices.

    >>> flat = lambda dial: {"a": 100 / dial, "b": 100 / dial}
    >>> control = DialControl(RateCurves(flat), {"a": 800, "b": 800}, room=200.0, first=1.0)
    >>> round(control.dial, 3)
    1.0
    >>> control.took(["a"], 95.0)
    >>> control.dial < 1
    True
    """

    def __init__(
        self, curves: RateCurves, counts: Mapping[str, int], *, room: float, first: float
    ) -> None:
        self._curves, self._counts = curves, counts
        self._room, self._left = room, set(counts)
        self._spent = self._expected = 0.0
        self._x = self._solved(math.log2(first))
        self._prior = _PRIOR * curves.bytes_of(self._left, self._x)

    @property
    def dial(self) -> float:
        """The dial for the matrices that come next."""
        return float(2.0**self._x)

    @property
    def spent(self) -> float:
        """Bytes so far."""
        return self._spent

    def took(self, names: Collection[str], nbytes: float, *, last: bool = False) -> None:
        """Note what some matrices took at the dial; `last`: one more block is all that is left."""
        self._expected += self._curves.bytes_of(names, self._x)
        self._spent += nbytes
        self._left -= set(names)
        if self._left:
            found = self._solved(self._x)
            most = 1.0 if last else _MOST
            self._x += min(most, max(-most, found - self._x))

    def again(self, names: Collection[str], nbytes: float, wanted: float) -> float:
        """Another dial for the matrices that came last: they took `nbytes` and are to take so many.

        They then count as not rounded yet.
        """
        expected = self._curves.bytes_of(names, self._x)
        self._x = self._at_bytes(names, self._x, wanted * expected / max(1.0, nbytes))
        return self.dial

    def _solved(self, x: float) -> float:
        """Where what is left fills the room that is left."""
        wanted = max(0.0, self._room - self._spent) / self._ratio
        return self._at_bytes(self._left, x, wanted)

    @property
    def _ratio(self) -> float:
        """What was seen beside what was expected."""
        if not self._expected:
            return 1.0
        return (self._spent + self._prior) / (self._expected + self._prior)

    def _at_bytes(self, names: Collection[str], x: float, wanted: float) -> float:
        """Newton steps with the slope that theory gives: a bit a weight for an octave."""
        weights = max(1, sum(self._counts[name] for name in names))
        for _ in range(24):
            ahead = (self._curves.bytes_of(names, x) - wanted) * 8 / weights
            if abs(ahead) < 1e-4:
                break
            # At low rates an octave saves less than a bit: steps of at most one keep this calm.
            x += min(1.0, max(-1.0, ahead))
        return x
