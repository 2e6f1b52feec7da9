"""The user's score of a network, as the one number that decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from taut.scoring.metrics import deciding
from taut.scoring.user_score import judged

if TYPE_CHECKING:
    import torch


def scored(
    module: torch.nn.Module, score: Callable[[torch.nn.Module], object]
) -> tuple[str, float]:
    """The name and the value of the number that decides, of what the caller's function gives.

    Raises:
        ArgumentError: it raised, or gave what is no score.
    """
    metric = deciding(judged(score, module, copied=False))
    return metric.name, metric.value
