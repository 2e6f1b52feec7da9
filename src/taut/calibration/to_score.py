"""The steps to the smallest file whose score is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import count

from taut.calibration.choose_lambda import choose_lambda
from taut.calibration.choose_order import choose_order
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.finishing import corrected, finished
from taut.calibration.judged import original_score, score_at, score_with
from taut.calibration.one_pass import BLOCKWISE, in_chain
from taut.calibration.search import MOST_EVALUATIONS, Try, search_dial
from taut.calibration.settled import Settled
from taut.calibration.sizes import fixed_size
from taut.calibration.start import Started
from taut.calibration.vectors import AS_GIVEN, Vectors
from taut.planning.max_drop import Allowed
from taut.progress import report_bytes

_FIRST_BITS = 2.5  # where a search by score begins
_SEARCHES = 8  # evaluations before the finishing touches; the others judge these
_PASSES = 3  # evaluations of a network that is rounded block after block
_STRETCHES = (0.25, 0.12)  # octaves that the finishing touches may win back

Report = Callable[[Try], None]


@dataclass(frozen=True)
class Stretched:
    """Coarser steps that were tried with finished vectors; `vectors` of those that served."""

    tries: tuple[Try, ...] = ()
    vectors: Vectors | None = None
    notes: tuple[str, ...] = ()


def to_score(started: Started, allowed: Allowed) -> Settled:
    """The coarsest steps whose score is allowed; finishing may allow coarser ones.

    Raises:
        TargetError: no steps that were tried are fine enough.
    """
    if started.compressed is not None:
        return _in_few_passes(started, started.compressed, allowed)
    finishes, report = started.work.request.finish, _reporter(started)
    original = original_score(started)
    first = started.rounder.first_dial(_FIRST_BITS)
    notes = choose_lambda(started, first)
    dial, tries = search_dial(
        lambda dial: score_at(started, AS_GIVEN, dial),
        original,
        allowed,
        first,
        evaluations=_SEARCHES if finishes else MOST_EVALUATIONS - 1,
        report=report,
    )
    chosen = next(one for one in reversed(tries) if one.dial == dial)
    further = Stretched()
    if finishes:
        notes += choose_order(started, dial, cache(lambda: _as_judged(started, tries[-1])))
        further = _stretched(started, dial, allowed.least(original), report)
    if further.vectors is not None:
        chosen = further.tries[-1]
    return Settled(
        dial=chosen.dial,
        vectors=further.vectors or _as_judged(started, chosen),
        original_score=original,
        score=chosen.score,
        tries=(*tries, *further.tries),
        notes=notes + further.notes,
    )


def _in_few_passes(started: Started, compressed: CompressedChain, allowed: Allowed) -> Settled:
    """The coarsest of a few passes, block after block, whose score is allowed; then finished."""
    rounder, original = started.rounder, original_score(started)
    first = rounder.first_dial(_FIRST_BITS)
    notes = choose_lambda(started, first)
    rounder.follow(in_chain(started, compressed, key=f"score,{rounder.lam:g}"))
    dial, tries = search_dial(
        lambda dial: score_at(started, AS_GIVEN, dial),
        original,
        allowed,
        first,
        evaluations=_PASSES,
        report=_reporter(started),
    )
    vectors = finished(started, AS_GIVEN, dial)
    tries.append(Try(dial, score_at(started, vectors, dial)))
    if tries[-1].score < allowed.least(original):  # it was finished for outputs, not for the score
        started.rounder.turn(dial, started.work.progress)
        vectors = replace(corrected(started), dial=None)
        tries.append(next(one for one in tries if one.dial == dial))
    return Settled(
        dial=dial,
        vectors=vectors,
        original_score=original,
        score=tries[-1].score,
        tries=tuple(tries),
        notes=(*notes, BLOCKWISE, *filter(None, [vectors.note])),
    )


def _reporter(started: Started) -> Report:
    """What counts the scores that are taken, and tells of them, and of the file's size at each."""
    progress, rounder, numbers = started.work.progress, started.rounder, count(1)
    rest = cache(lambda: fixed_size(started, AS_GIVEN))

    def report(one: Try) -> None:
        if progress:
            if rounder.dial == one.dial:  # a score that an earlier run took has nothing rounded
                report_bytes(progress, round(rounder.nbytes + rest()))
            progress(f"score {one.score:.6g}", next(numbers), MOST_EVALUATIONS)

    return report


def _as_judged(started: Started, one: Try) -> Vectors:
    """The vectors that a try of the search was judged with: its matrices' biases corrected."""
    started.rounder.follow(None)  # blocks were not in sequence then
    started.rounder.turn(one.dial, started.work.progress)
    return corrected(started)


def _stretched(started: Started, dial: float, least: float, report: Report) -> Stretched:
    """Steps beyond `dial`, the coarsest first, until finished vectors keep the score at `least`."""
    tries: list[Try] = []
    notes: list[str] = []

    for octaves in _STRETCHES:
        at = dial * 2.0**octaves

        @cache
        def made(at: float = at) -> Vectors:
            found = finished(started, AS_GIVEN, at)
            notes.append(found.note)
            return found

        tries.append(Try(at, score_with(started, made, at, finished_for=at)))
        report(tries[-1])
        if tries[-1].score >= least:
            return Stretched(tuple(tries), made(), _told(notes))
    return Stretched(tuple(tries), None, _told(notes))


def _told(notes: list[str]) -> tuple[str, ...]:
    """Each note once, in the order of the first."""
    return tuple(dict.fromkeys(note for note in notes if note))
