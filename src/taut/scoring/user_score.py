"""The user's score of a network: what it gave, and as one number that can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from taut.errors import ArgumentError
from taut.networks.calls import explained
from taut.networks.copies import copy_module
from taut.networks.precision import as_it_was
from taut.networks.quick_products import usual_products
from taut.scoring.metrics import deciding
from taut.scoring.outcome import Outcome, read_outcome

if TYPE_CHECKING:
    import torch

ScoreFunction: TypeAlias = "Callable[[torch.nn.Module], object]"
"""Takes a network; gives a number, or a dict as `taut.evaluate.read_outcome` takes it."""


def judged(
    score: ScoreFunction,
    module: torch.nn.Module,
    where: str = "score",
    *,
    copied: bool = True,
) -> Outcome:
    """What the user's score gave of a module; no gradients are taken.

    `score` is given a copy: whatever it does to the model, the next one is not judged by it.

    Raises:
        ArgumentError: it raised, or gave what is no score: a text, NaN.
    """
    try:
        found = _called(score, copy_module(module) if copied else module, where)
    except ArgumentError:
        narrow = as_it_was(module) if copied else None
        if narrow is None:
            raise
        found = _called(score, narrow, where)  # its forward names its own half precision
    return read_outcome(found, where)


def _called(score: ScoreFunction, module: torch.nn.Module, where: str) -> object:
    import torch

    with explained(f"{where}: failed"), torch.no_grad(), usual_products():
        return score(module)


def scored(score: ScoreFunction, module: torch.nn.Module) -> float:
    """The user's score of a module as a number, higher being better; raises as `judged`."""
    return comparable(judged(score, module))


def comparable(outcome: Outcome) -> float:
    """The metric that decides, negated where lower is better.

    >>> import numpy as np
    >>> comparable(read_outcome({"nll": np.log([2.0, 8.0])}, "score"))
    -4.0
    """
    metric = deciding(outcome)
    if not math.isfinite(metric.value):
        raise ArgumentError(f"score: gave {metric.value}; it must give a finite number")
    return -metric.value if metric.better == "lower" else metric.value
