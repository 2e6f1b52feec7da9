"""The dial for a size, or for a score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from taut.errors import TargetError
from taut.planning.max_drop import Allowed

MOST_EVALUATIONS = 12
_FIRST_BITS = 3.0
_REACH = 10.5  # octaves finer than the first dial that all evaluations together come to
_CLOSE = 0.06  # octaves of the dial, about as many bits a weight: near enough


@dataclass(frozen=True)
class Try:
    """One evaluation: the score of the model as rounded at `dial`."""

    dial: float
    score: float


def search_dial(
    judge: Callable[[float], float],
    original: float,
    allowed: Allowed,
    first: float,
    *,
    evaluations: int,
    report: Callable[[Try], None] | None = None,
) -> tuple[float, list[Try]]:
    """The largest dial found whose score is allowed, in at most so many evaluations.

    `judge(dial)` scores the model rounded at `dial`, `original` is the score of the original. The
    loss grows as the square of the dial (second-order theory), which tells where to look next;
    then the bracket is halved.

    Raises:
        TargetError: no dial tried is good enough; `best` is the `Try` with the best score.
    """
    least = allowed.least(original)
    tries: list[Try] = []
    good, bad = -math.inf, math.inf  # log2 of dials
    stride = max(1.5, _REACH / max(1, evaluations - 1))  # of few evaluations each goes further
    x = math.log2(first)
    while len(tries) < evaluations:
        one = Try(2.0**x, judge(2.0**x))
        tries.append(one)
        if report:
            report(one)
        if one.score >= least:
            good = max(good, x)
        else:
            bad = min(bad, x)
        if bad - good < _CLOSE:
            break
        x = _next(x, original - one.score, original - least, (good, bad), stride)
    if math.isinf(good):
        best = max(tries, key=lambda t: t.score)
        raise TargetError(
            f"max_drop {allowed.text}: the score {original:.6g} falls to {best.score:.6g} at the "
            f"finest steps tried, and {least:.6g} is asked for; allow more, or keep more tensors "
            "lossless",
            best=best,
        )
    return 2.0**good, tries


def _next(
    x: float, lost: float, allowed: float, bracket: tuple[float, float], stride: float
) -> float:
    """Where the square law puts the allowed loss; inside of the bracket, not too near its ends.

    While nothing is good it goes finer, by at most `stride` octaves, and hardly more than needed.
    """
    good, bad = bracket
    if math.isfinite(good) and math.isfinite(bad):
        guess = x + _octaves(lost, allowed)
        margin = (bad - good) / 5
        return min(max(guess, good + margin), bad - margin)
    move = _octaves(lost, allowed)
    if math.isinf(bad):  # all is well so far
        return x + max(0.25, min(1.0, move))
    return x - max(0.25, min(stride, _CLOSE - move if allowed > 0 else stride / 1.5))


def _octaves(lost: float, allowed: float) -> float:
    """How many octaves of the dial lie between these two losses."""
    if lost <= 0:
        return 1.0
    if allowed <= 0:
        return -1.0
    return 0.5 * math.log2(allowed / lost)
