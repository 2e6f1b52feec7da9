"""What rounding costs: on batches set aside, and in the user's score."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from taut.calibration.findings import Findings, code_identity, dial_text
from taut.calibration.finishing import corrected
from taut.calibration.shown import held_loss, shown
from taut.calibration.start import Started
from taut.calibration.vectors import Vectors
from taut.errors import ArgumentError
from taut.networks.precision import held_tensors, placed
from taut.scoring.user_score import ScoreFunction, scored

if TYPE_CHECKING:
    import torch

_NO_NUMBERS = (
    "calibration: with the values that the file would hold, outputs on batches set aside are NaN "
    "or infinite, which the original's are not; ask for more bits, or let a plan's rule keep what "
    "is divided by, or squared, without loss"
)
_LOSS_PER_BIT = 2.5  # octaves that the loss falls by with a bit more; 2 at high rates


def loss_at(started: Started, vectors: Vectors, dial: float) -> float:
    """The loss at a dial on batches set aside, as bits a weight beside those it takes."""
    rounder = started.rounder
    rounder.turn(dial, started.work.progress)
    return as_bits(held_loss(started, vectors), rounder.nbytes, rounder.weights)


def last_look(started: Started, vectors: Vectors) -> tuple[str, ...]:
    """What each of several outputs loses on batches set aside, as the rounder stands, in a note.

    Raises:
        ArgumentError: what the file would hold gives no numbers there.
    """
    held = started.held
    if not held.judges or (len(held.roles) < 2 and started.compressed is not None):
        return ()
    if not math.isfinite(held_loss(started, vectors)):
        raise ArgumentError(_NO_NUMBERS)
    if len(held.roles) < 2 or started.work.request.loss is not None:
        return ()
    each = [f"{place or 'the main one'} {_percent(lost)}" for place, lost in held.each().items()]
    return (f"on batches set aside the outputs lose, of what each tells: {', '.join(each)}",)


def _percent(share: float) -> str:
    """`0.31 %`, `170 %`."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:,.0f} %"


def as_bits(loss: float, nbytes: float, weights: int) -> float:
    """A loss and the bytes that some weights take for it, in bits a weight."""
    return math.log2(max(loss, 1e-30)) / _LOSS_PER_BIT + 8 * nbytes / max(1, weights)


def original_score(started: Started) -> float:
    """The score of the model as it is."""
    work = started.work
    wide = started.compressed is not None
    return score_of_original(work.request.score, work.model.module, started.record, wide=wide)


def score_of_original(
    score: ScoreFunction | None, module: torch.nn.Module, record: Findings, *, wide: bool = False
) -> float:
    """The score of `module`, which the record has from then on; `wide` widens what it can."""

    def judged() -> float:
        with placed(held_tensors(module), wide=wide):
            return _scored(score, module)

    return record.number(f"score/{code_identity(score)}/original", judged)


def score_at(started: Started, vectors: Vectors, dial: float) -> float:
    """The score at a dial; vectors that were not finished are corrected for it."""

    def given() -> Vectors:
        started.rounder.turn(dial, started.work.progress)
        return vectors if vectors.dial is not None else corrected(started)

    return score_with(started, given, dial, finished_for=vectors.dial)


def score_with(
    started: Started, vectors: Callable[[], Vectors], dial: float, *, finished_for: float | None
) -> float:
    """The score at a dial with vectors that are made only where the record has no score."""

    def judged() -> float:
        found = vectors()
        started.rounder.turn(dial, started.work.progress)
        with shown(started, found) as module:
            return _scored(started.work.request.score, module)

    key = f"score/{_judge(started)}/{dial_text(dial)}/{dial_text(finished_for)}"
    return started.record.number(key, judged)


def _judge(started: Started) -> str:
    return code_identity(started.work.request.score)


def _scored(score: ScoreFunction | None, module: torch.nn.Module) -> float:
    if score is None:
        raise ArgumentError("max_drop: give the score to keep, as score (or --score)")
    return scored(score, module)
