"""The user's score of a network, as a number that can be compared."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsFloat

from laconic.errors import ArgumentError, LaconicError
from laconic.inputs.callables import told

if TYPE_CHECKING:
    import torch


def scored(evaluate: Callable[[torch.nn.Module], float], module: torch.nn.Module) -> float:
    """The user's score of a module, as a number; no gradients are taken.

    `evaluate` is given a copy: whatever it does to the model, the next one is not judged by it.

    Raises:
        ArgumentError: it raised, or gave what is no number: a text, NaN.
    """
    import torch

    try:
        with torch.no_grad():
            score: object = evaluate(copy.deepcopy(module))
    except (LaconicError, MemoryError):
        raise
    except Exception as error:  # the caller's code may raise anything
        raise ArgumentError(f"evaluate: failed: {told(error)}") from error
    if not isinstance(score, SupportsFloat):
        raise ArgumentError(
            f"evaluate: gave a {type(score).__name__}; it must give one number, higher is better"
        )
    try:
        number = float(score)
    except (TypeError, ValueError, RuntimeError):  # an array of several
        raise ArgumentError("evaluate: gave several numbers; it must give one") from None
    if not math.isfinite(number):
        raise ArgumentError(f"evaluate: gave {number}; it must give a finite number")
    return number
