"""How many units of channels go: the fewest that reach a cost, or the most that keep a score."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError, TargetError
from taut.networks.calls import explained
from taut.transform.channels_job import PruningJob
from taut.transform.channels_order import Chosen, Order

if TYPE_CHECKING:
    import torch

EVALUATIONS: Final = 12  # of a score, at most


def by_cost(job: PruningJob, order: Order, target: str, value: float) -> Chosen:
    """The fewest units that leave at most `value` of the parameters or FLOPs."""
    whole = job.left({}, target)
    low, high = 0, len(order) - 1  # the first does not reach it, the last may
    least = job.left(order[high], target)
    if least > value * whole:
        raise ArgumentError(
            f"channels: {target}: {value:g} cannot be reached: with as little as can be left of "
            f'"{order.largest}" and all others it is {least / whole:.4f}; '
            f"give {math.ceil(least / whole * 1e4) / 1e4:.4f} or more"
        )
    while low + 1 < high:
        middle = (low + high) // 2
        if job.left(order[middle], target) <= value * whole:
            high = middle
        else:
            low = middle
    return order[high]


def by_score(
    job: PruningJob, order: Order, score: Callable[[torch.nn.Module], float], drop: float
) -> Chosen:
    """The most units that cost no more than `drop` of the score."""
    least = _score(score, job.without({})) - drop
    places = min(len(order) - 1, 2 ** (EVALUATIONS - 1) - 1)  # what bisection can tell apart
    low, high = 0, places + 1  # the first keeps the score, and what follows the last does not
    best = math.nan
    while low + 1 < high:
        middle = (low + high) // 2
        value = _score(score, job.without(order[_place(middle, places, order)]))
        if value >= least:
            low = middle
        else:
            high, best = middle, value
    if low == 0:
        raise TargetError(
            f"channels: max_drop: {drop:g} cannot be kept: with the fewest channels of "
            f'"{order.first}" gone the score is {best:g}, below {least:g}',
            best=best,
        )
    return order[_place(low, places, order)]


def _place(number: int, places: int, order: Order) -> int:
    return round(number * (len(order) - 1) / places)


def _score(score: Callable[[torch.nn.Module], float], module: torch.nn.Module) -> float:
    import torch

    with explained("channels: score: failed"), torch.no_grad():
        value = float(score(module))
    if not math.isfinite(value):
        raise ArgumentError(f"channels: score: gave {value}; it must give a finite number")
    return value
