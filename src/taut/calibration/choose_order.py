"""The step that chooses between rounding all matrices by themselves and block after block."""

from __future__ import annotations

from collections.abc import Callable

from taut.calibration.findings import dial_text
from taut.calibration.judged import loss_at
from taut.calibration.one_pass import in_chain, shares_of
from taut.calibration.rounder import Way
from taut.calibration.sequence import InSequence
from taut.calibration.start import Started, chain_of
from taut.calibration.vectors import Vectors

_WORTH = 0.01  # bits a weight that going block after block must save: it takes time


def choose_order(started: Started, dial: float, vectors: Callable[[], Vectors]) -> tuple[str, ...]:
    """Round block after block from now on, if batches set aside are served better so.

    Gives a note if they are, else nothing. `vectors` are made only where the record has no loss.
    """
    work, rounder, held = started.work, started.rounder, started.held
    if not work.request.sequential or not held.judges:
        return ()
    way = _way(started)
    if way is None:
        return ()

    def loss(one: Way | None) -> float:
        found = vectors()
        rounder.follow(one)
        return loss_at(started, found, dial)

    alone, after = (
        started.record.number(
            f"sequence/{one is not None:d}/{dial_text(dial)}",
            lambda one=one: loss(one),  # type: ignore[misc]
        )
        for one in (None, way)
    )
    better = after < alone - _WORTH
    rounder.follow(way if better else None)
    return ("block after block: better on batches set aside",) if better else ()


def _way(started: Started) -> Way | None:
    """What rounds block after block: by a chain of blocks where there is one."""
    work, rounder = started.work, started.rounder
    chain = chain_of(work, started.held, rounder)
    if chain is not None and len(shares_of(started, chain)) > 1:
        return in_chain(started, chain)
    way = InSequence(rounder, work.model, started.held.others, work.progress)
    return way if len(way.blocks) > 1 else None
