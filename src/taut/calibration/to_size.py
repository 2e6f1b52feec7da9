"""The steps to a file of a size: lambda, the dial, the order of blocks, finishing touches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from taut.calibration.choose_lambda import choose_lambda
from taut.calibration.choose_order import choose_order
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.finishing import corrected, finished
from taut.calibration.judged import original_score, score_at
from taut.calibration.one_pass import AIM, BLOCKWISE, UNTUNED, in_one_pass
from taut.calibration.rounder import MOST_BITS
from taut.calibration.settled import Settled
from taut.calibration.shown import held_loss
from taut.calibration.sizes import fixed_size, meet_size, size_at
from taut.calibration.start import Started
from taut.calibration.vectors import AS_GIVEN, Vectors
from taut.errors import ArgumentError
from taut.networks.block_calls import AnotherWayError
from taut.planning import Target

LEFT_OUT: Final = "finishing: left out, for it took more from the last block than it gave"
NO_ROOM: Final = "finishing: left out, for the last block could make no room for it"

Again = Callable[[Vectors | None], float | None]


def to_size(started: Started, target: Target) -> Settled:
    """The steps at which the file has the size, finished for it.

    Raises:
        TargetError: no steps give that size.
    """
    rounder = started.rounder
    fixed = fixed_size(started, AS_GIVEN)
    room = 8 * max(0.0, target.nbytes - fixed)
    first = rounder.first_dial(room / max(1, rounder.weights))
    begun = rounder.dial_for(target.nbytes - fixed, first)
    notes = choose_lambda(started, begun)
    if started.compressed is not None:
        again = partial(_in_one_pass, started, started.compressed, target, begun, fixed)
        at = again(None)
        if at is not None:
            return _finished(started, at, target, (*notes, BLOCKWISE), again)
    dial = meet_size(started, AS_GIVEN, target, fixed=fixed, first=first)
    if order := choose_order(started, dial, lambda: AS_GIVEN):
        dial = _met_again(started, AS_GIVEN, target, dial)
    return _finished(started, dial, target, notes + order)


def _in_one_pass(
    started: Started,
    compressed: CompressedChain,
    target: Target,
    first: float,
    fixed: float,
    vectors: Vectors | None,
) -> float | None:
    """The last dial of a pass that meets the size with these vectors; None if none does.

    None of them: with biases corrected, and a little room for what is tuned later.

    Where the room is none, or more than the finest dial fills, turns of the whole say what is
    wrong.
    """
    rounder, room = started.rounder, AIM * target.nbytes - fixed
    if room <= 0 or rounder.estimate(rounder.first_dial(MOST_BITS)) < room:
        return None
    key = f"{target.nbytes},{rounder.lam:g}"
    try:
        return in_one_pass(
            started,
            compressed,
            target,
            lambda dial: size_at(started, vectors or corrected(started), dial, of=key),
            most=target.nbytes if vectors else int(UNTUNED * target.nbytes),
            room=room,
            first=rounder.dial_for(room, first),
            key=key,
        )
    except AnotherWayError:  # the blocks are no chain for this batch
        return None


def as_planned(started: Started) -> Settled:
    """All tensors as their schemes say, none of them under the dial; finished.

    Raises:
        ArgumentError: there are tensors under the dial.
    """
    if started.rounder.weights:
        raise ArgumentError("a calibrated compression wants bits, size or max_drop")
    return _finished(started, 1.0, None, ())


def _made_room(
    started: Started, vectors: Vectors, again: Again, dial: float
) -> tuple[float, Vectors]:
    """A dial of the last block that leaves tuned vectors the room that they take; or untuned ones.

    These where they serve batches set aside better: what is tuned may take more from that block
    than it gives. The blocks before it are as they were, from the journal.
    """
    untuned, judged = corrected(started), bool(started.held.judges)
    most = held_loss(started, untuned) if judged else math.inf
    found = again(vectors)
    if found is not None and (not judged or held_loss(started, vectors) <= most):
        return found, vectors
    dial = again(None) or dial
    note = LEFT_OUT if found is not None else NO_ROOM
    return dial, replace(corrected(started), dial=dial, note=note)


def _finished(
    started: Started,
    dial: float,
    target: Target | None,
    notes: tuple[str, ...],
    again: Again | None = None,
) -> Settled:
    """The dial with its vectors, and the scores, if there is a judge.

    `again(vectors)` rounds the last block of a pass anew for the size with these.
    """
    judged = started.work.request.score is not None
    original = original_score(started) if judged else None
    vectors = finished(started, AS_GIVEN, dial)
    if target is not None:
        size = size_at(started, vectors, dial)
        if size > target.nbytes and again is not None:
            dial, vectors = _made_room(started, vectors, again, dial)
        elif size > target.nbytes:
            dial = _met_again(started, vectors, target, dial)  # the vectors take a little more now
        elif not target.met_by(size):
            notes = (*notes, _left_over(target, size))
    return Settled(
        dial=dial,
        vectors=vectors,
        original_score=original,
        score=score_at(started, vectors, dial) if judged else None,
        notes=(*notes, *filter(None, [vectors.note])),
    )


def _left_over(target: Target, size: int) -> str:
    """What is said of a file that is smaller than it was asked to be."""
    return (
        f"{size:,} of {target.nbytes:,} bytes are used: the steps are the finest that its matrices "
        "take with calibration data; without it, or bit-exact, more would serve"
    )


def _met_again(started: Started, vectors: Vectors, target: Target, first: float) -> float:
    """The dial for the size once something else has changed; the search begins at `first`."""
    fixed = fixed_size(started, vectors)
    return meet_size(started, vectors, target, fixed=fixed, first=first)
