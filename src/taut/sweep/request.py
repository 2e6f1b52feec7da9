"""What a sweep is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.networks import CalibrationSpec
from taut.progress import Progress
from taut.sweep.points import Setting

if TYPE_CHECKING:
    import torch

    from taut.networks.chosen_outputs import SharesSpec
    from taut.networks.outputs import Loss
    from taut.networks.sources import Model


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How every file is made: arguments of `compress`."""

    calib: CalibrationSpec | None = None
    loss: Loss | None = None
    output: str | Mapping[str, str] | None = None
    outputs: SharesSpec | None = None
    finish: bool | None = None
    seed: int | None = None
    effort: Effort | None = None
    threads: int = 1
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """A model, the `settings` to make files for, and the score that they are judged by.

    Files stay in the folder `out`, or else go when they are judged; finished points stay in it, or
    in `journal`. With `resume` a sweep goes on from them; `force` lets others be overwritten.
    """

    model: Model
    settings: tuple[Setting, ...]
    ways: Ways = Ways()
    score: Callable[[torch.nn.Module], object] | None = None
    out: str | Path | None = None
    journal: str | Path | None = None
    resume: bool = False
    force: bool = False
    progress: Progress | None = None
