"""What a compression with training is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.planning import Target
from taut.planning.max_drop import Allowed
from taut.transform.settings import Training

if TYPE_CHECKING:
    from taut.scoring.user_score import ScoreFunction
    from taut.training.objective import Fit


@dataclass(frozen=True)
class TrainRequest:
    """A size, a score, both or neither (schemes that need no dial); and how to get there.

    `checkpoint` is where the built-in loop keeps its state.
    """

    fit: Fit
    training: Training
    target: Target | None = None
    allowed: Allowed | None = None
    score: ScoreFunction | None = None
    teacher: Callable[..., object] | None = None
    effort: Effort = "max"
    threads: int = 1
    seed: int = 0
    checkpoint: Path | None = None
    resume: bool = False
