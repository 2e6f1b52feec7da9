"""Calibrated compression up to the writing, step after step.

Each step is a function from frozen inputs to a frozen result, in a file of its own: `start`
collects the curvature, `to_size` or `to_score` settle the dial and finish the vectors. What they
find is kept in the record, so that a run that broke off goes on.
"""

from __future__ import annotations

from taut.calibration.choose_forms import choose_forms
from taut.calibration.findings import Findings
from taut.calibration.inputs import Work
from taut.calibration.judged import last_look, score_of_original
from taut.calibration.request import Ready, Request
from taut.calibration.search import Try
from taut.calibration.settled import Settled
from taut.calibration.sizes import size_at
from taut.calibration.start import Started, is_large, start
from taut.calibration.to_score import to_score
from taut.calibration.to_size import as_planned, to_size
from taut.errors import TargetError
from taut.networks.precision import has_narrow


def calibrate(work: Work, record: Findings) -> Ready:
    """Find the dial and finish; what was found so far is taken from the record.

    Raises:
        ArgumentError: the data does not fit the model, or a scheme its tensor; or the rounded
            network gives no numbers.
        TargetError: the size or the score cannot be met.
    """
    _score_first(work, record)
    started = choose_forms(start(work, record))
    settled = _settled(started)
    started.rounder.turn(settled.dial, work.progress)
    size = size_at(started, settled.vectors, settled.dial)
    _check_both(work.request, settled, size)
    return Ready(
        source=settled.vectors.over(work.source),
        quantize=started.rounder,
        size=size,
        tries=settled.tries,
        original_score=settled.original_score,
        score=settled.score,
        notes=started.notes + settled.notes + last_look(started, settled.vectors),
        record=record,
    )


def _score_first(work: Work, record: Findings) -> None:
    """Judge the original before the curvature is collected, where it stays as it is until then.

    A score that fails, or lacks a package, is told before the minutes and not after.
    """
    module = work.model.module
    if work.request.score is None or is_large(work.source, work.schemes) or has_narrow(module):
        return
    score_of_original(work.request.score, module, record)


def _settled(started: Started) -> Settled:
    """The dial by the way that the request asks for."""
    request = started.work.request
    if request.allowed is not None:
        return to_score(started, request.allowed)
    if request.target is not None:
        return to_size(started, request.target)
    return as_planned(started)


def _check_both(request: Request, settled: Settled, size: int) -> None:
    """Whether a file of a score has the size, too, that was asked for."""
    target, allowed = request.target, request.allowed
    if target is None or allowed is None or settled.score is None or size <= target.nbytes:
        return
    raise TargetError(
        f"{target.text} ({target.told:,} bytes) and max_drop {allowed.text} cannot both "
        f"be met: at that score the file has {size:,} bytes",
        best=Try(settled.dial, settled.score),
    )
