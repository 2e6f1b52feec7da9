"""One dial: the step of all tensors is turned until the file has the size asked for.

With one Lagrange multiplier for the whole model the equal-slope condition gives every tensor the
same step, up to a fixed weight (docs/method.md), so allocation is a search in one variable. The
size falls by about one bit per weight when the steps double, which the search uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from taut.errors import TargetError
from taut.planning.target import TOLERANCE, Target

# Too large a file is of no use, so the aim is a little below the target. The first exact size
# tells how far the estimate is off; another try can use what a file below `_CLOSE` gives away.
_AIM = 0.9985
_CLOSE = 0.9965
_POLISH = 3
_TRIES = 12
_ZERO = 1e30  # a dial that rounds every weight to zero


@dataclass(frozen=True)
class Found:
    """The dial that meets a target, the size in bytes it gives, and how many sizes were taken."""

    dial: float
    size: int
    tries: int


@dataclass(frozen=True)
class Bracket:
    """Dials (log2) that are known to give too large (`low`) and too small a file.

    `inside` is the largest file found that is not too large.
    """

    low: float = -math.inf
    high: float = math.inf
    inside: Found | None = None

    def narrowed(self, x: float, found: Found, target: Target) -> Bracket:
        """The bracket once `found` is known of the dial 2**x."""
        if found.size > target.nbytes:
            return replace(self, low=x)
        better = self.inside is None or found.size > self.inside.size
        return replace(self, high=x, inside=found if better else self.inside)

    def met(self, target: Target) -> Found | None:
        """What was found, if it is near enough."""
        near = self.inside is not None and target.met_by(self.inside.size)
        return self.inside if near else None


def meet_target(
    target: Target,
    exact: Callable[[float], int],
    estimate: Callable[[float], float],
    *,
    weights: int,
    first: float,
    finest: float = 0.0,
) -> Found:
    """Find a dial whose file is within a percent below `target`.

    `exact(dial)` is the size of the file in bytes, `estimate(dial)` a quick guess of it (its bias
    is corrected as exact sizes come in); `weights` of the model are quantised, `first` is a dial
    to begin at. Where even the file of `finest`, below which there is no dial, is smaller, it is
    the one: the dial has nothing left to spare.

    Raises:
        TargetError: no dial gives such a size; `best` is the `Found` nearest below the target,
            or the smallest one there is.
    """
    if estimate(_ZERO) > target.nbytes and exact(_ZERO) > target.nbytes:
        raise _unreachable(target, None, exact)
    bias, bracket, x = 1.0, Bracket(), math.log2(first)
    floor = math.log2(finest) if finest else -math.inf
    for tries in range(1, _TRIES + 1):
        x = max(floor, _turn(x, target.nbytes * _AIM / bias, estimate, weights, bracket))
        found = Found(2.0**x, exact(2.0**x), tries)
        if _serves(found, target, last=x == floor):
            return found
        bracket = bracket.narrowed(x, found, target)
        if tries >= _POLISH and bracket.met(target):
            break
        bias *= found.size / max(1.0, estimate(2.0**x) * bias)
        if bracket.high - bracket.low < 1e-6:
            break
    if met := bracket.met(target):
        return met
    raise _unreachable(target, bracket.inside, exact)


def _serves(found: Found, target: Target, *, last: bool) -> bool:
    """Whether a file is near enough below the target; of the finest dial (`last`) any below is."""
    least = 0.0 if last else _CLOSE * target.nbytes
    return least <= found.size <= target.nbytes


def _turn(
    x: float,
    wanted: float,
    estimate: Callable[[float], float],
    weights: int,
    bracket: Bracket,
) -> float:
    """Newton steps on the estimate with the slope that theory gives, kept inside the bracket."""
    low, high = bracket.low, bracket.high
    for _ in range(24):
        ahead = (estimate(2.0**x) - wanted) * 8 / max(1, weights)
        if abs(ahead) < 2e-4:
            break
        # At low rates a doubling saves less than a bit: steps of at most two keep this calm.
        x += min(2.0, max(-2.0, ahead))
        if not low < x < high:
            break
    if low < x < high:
        return x
    if math.isinf(low) or math.isinf(high):
        return low + 2.0 if math.isinf(high) else high - 2.0
    return (low + high) / 2


def too_small(target: Target, least: int) -> TargetError:
    """That no dial gives so small a file: the smallest one has `least` bytes.

    >>> print(too_small(Target(500, "a size of 500B"), 1200))
    a size of 500B (500 bytes) cannot be met: with every matrix zero the file still has 1,200 \
bytes; ask for more, or let other tensors lose too
    """
    return TargetError(
        f"{target.text} ({target.told:,} bytes) cannot be met: with every matrix zero the file "
        f"still has {least + target.beside:,} bytes; ask for more, or let other tensors lose too",
        best=Found(_ZERO, least, 0),
    )


def _unreachable(
    target: Target, inside: Found | None, exact: Callable[[float], int]
) -> TargetError:
    if inside is None:
        return too_small(target, exact(_ZERO))
    return TargetError(
        f"{target.text} ({target.told:,} bytes) cannot be met within "
        f"{100 * (1 - TOLERANCE):.0f} % from below; the nearest file has "
        f"{inside.size + target.beside:,} bytes",
        best=inside,
    )
