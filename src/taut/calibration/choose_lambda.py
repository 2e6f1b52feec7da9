"""The step that chooses lambda, on batches set aside.

What rounding by rate gives at a layer's output it may take at the network's: it draws weights
toward zero, all in the same direction. How the two weigh differs by network and rate
(docs/method.md).
"""

from __future__ import annotations

import math

from taut.calibration.chain_judge import judge_chain
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.findings import dial_text
from taut.calibration.judged import as_bits, loss_at
from taut.calibration.rounder import Rounder
from taut.calibration.shown import held_loss
from taut.calibration.start import Started
from taut.calibration.vectors import AS_GIVEN

_LAMBDAS = (0.0, 0.1, 0.25)
_NUDGES = (-0.06, 0.06)  # octaves of the dial
_MANY = 1 << 22  # weights
_ENOUGH = 1 << 24  # weights of a large network that are rounded for each lambda


def choose_lambda(started: Started, dial: float) -> tuple[str, ...]:
    """Take the lambda at which as many bytes serve batches set aside best; gives a note of it.

    The rounder keeps its own where one was asked for, or nothing was set aside.
    """
    work, rounder = started.work, started.rounder
    if work.request.options.lam is not None or not started.held.judges:
        return ()
    if started.compressed is not None and started.held.judges:
        judge_chain(started, started.compressed)
    wanted = rounder.estimate(dial)
    losses: dict[float, float] = {}
    for number, lam in enumerate(_LAMBDAS, 1):
        key = f"lambda/{lam:g}/{dial_text(dial)}"
        losses[lam] = started.record.number(
            key,
            lambda lam=lam: _loss_of(started, lam, wanted, dial),  # type: ignore[misc]
        )
        if work.progress:
            work.progress("lambda", number, len(_LAMBDAS))
    best = min(losses, key=lambda lam: (math.isnan(losses[lam]), losses[lam]))
    rounder.lam = best
    return (f"lambda {best:g}: chosen on batches set aside",)


def _loss_of(started: Started, lam: float, wanted: float, dial: float) -> float:
    """Octaves that are lost on batches set aside where the matrices take `wanted` bytes."""
    rounder = started.rounder
    rounder.lam = lam
    at = rounder.dial_for(wanted, dial)
    if started.compressed is not None:
        return _loss_of_some(started, started.compressed, at)
    # Of few weights one rounding's loss is a matter of chance; two are less of one.
    nudges = _NUDGES if rounder.weights < _MANY else (0.0,)
    losses = [loss_at(started, AS_GIVEN, at * 2.0**nudge) for nudge in nudges]
    return sum(losses) / len(losses)


def _loss_of_some(started: Started, compressed: CompressedChain, dial: float) -> float:
    """The same where only some blocks, all over the network, are rounded."""
    rounder = started.rounder
    names = _some(rounder, compressed)
    rounder.forget()
    found = rounder.rounded(names, dial, {}, progress=started.work.progress)
    rounder.keep(found)
    loss = held_loss(started, AS_GIVEN)
    rounder.forget()
    weights = sum(rounder.matrices[name].count for name in names)
    return as_bits(loss, rounder.size_of(found), weights)


def _some(rounder: Rounder, compressed: CompressedChain) -> list[str]:
    """The matrices of every so many blocks: as many as tell how a lambda serves."""
    inside = {
        name: place
        for name, one in rounder.matrices.items()
        if one.scheme.bits is None and (place := compressed.place(name)) is not None
    }
    weights = sum(rounder.matrices[name].count for name in inside)
    every = max(1, -(-weights // _ENOUGH))
    return [name for name, place in inside.items() if place % every == every // 2]
