"""What a calibrated run is asked for, and what it gives to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laconic.calibrate.forms import Options
from laconic.calibrate.record import Record
from laconic.calibrate.rounder import Rounder
from laconic.calibrate.search import Allowed, Try
from laconic.coding import Effort
from laconic.io import Source
from laconic.plan import Target

if TYPE_CHECKING:
    import torch

    Loss = Callable[[object, object], torch.Tensor]


@dataclass(frozen=True)
class Request:
    """What is asked for: a size, a score, or both; and how the work is to be done."""

    target: Target | None
    allowed: Allowed | None = None
    evaluate: Callable[[torch.nn.Module], float] | None = None
    loss: Loss | None = None
    finish: bool = True
    sequential: bool = True
    effort: Effort = "max"
    threads: int = 1
    seed: int = 0
    gains: Mapping[str, float] = field(default_factory=dict)
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Ready:
    """What is to be written: `source` with `quantize`; `tries` are the scores that were taken."""

    source: Source
    quantize: Rounder
    tries: tuple[Try, ...] = ()
    original_score: float | None = None
    score: float | None = None
    notes: tuple[str, ...] = ()
    record: Record = field(default_factory=Record)
