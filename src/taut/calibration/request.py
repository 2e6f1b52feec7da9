"""What a calibrated run is asked for, and what it gives to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from taut.calibration.findings import Findings
from taut.calibration.options import Options
from taut.calibration.search import Try
from taut.coding import Effort
from taut.encoding.tensor import Quantize
from taut.io import Source
from taut.machine.workers import Workers
from taut.networks.chosen_outputs import OutputShares
from taut.planning import Target
from taut.planning.max_drop import Allowed
from taut.scheme import Scheme

if TYPE_CHECKING:
    import torch

    from taut.scoring.user_score import ScoreFunction

    Loss = Callable[[object, object], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: a size, a score, or both; and how the work is to be done."""

    target: Target | None = None
    allowed: Allowed | None = None
    score: ScoreFunction | None = None
    loss: Loss | None = None
    output: Mapping[str, str] = field(default_factory=dict)
    shares: OutputShares = field(default_factory=OutputShares)
    finish: bool = True
    sequential: bool = True
    effort: Effort = "max"
    threads: int = 1
    seed: int = 0
    scratch: Path | None = None
    device: str | None = None
    gains: Mapping[str, float] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    workers: Workers | None = None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What is to be written: `source` with `quantize`, in a file of `size` bytes.

    `tries` are the scores that were taken; `schemes` are those of the tensors, where they are not
    the ones asked for. `of_rows` says whether `quantize` knows the rows of a sample, or tensors
    whole alone.
    """

    source: Source
    quantize: Quantize
    size: int
    tries: tuple[Try, ...] = ()
    original_score: float | None = None
    score: float | None = None
    notes: tuple[str, ...] = ()
    record: Findings = field(default_factory=Findings)
    schemes: Mapping[str, Scheme] | None = None
    of_rows: bool = True
