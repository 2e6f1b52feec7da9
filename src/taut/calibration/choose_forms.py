"""The step that asks whether the data help at all, on batches set aside.

Curvature from a few samples may tell more of these than of the network: of random inputs, of inputs
that are almost one, of many inputs a layer and few positions. Then rounding by scale alone serves
other samples better.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from taut.analysis import Curvature
from taut.calibration.findings import Findings
from taut.calibration.judged import loss_at
from taut.calibration.rounder import Rounder
from taut.calibration.sizes import fixed_size
from taut.calibration.start import Started
from taut.calibration.vectors import AS_GIVEN

_FEW: Final = 3  # positions for each input of a matrix: of fewer it is asked whether they help
_MANY: Final = 1 << 22  # weights; more of them take long to round six times
_WORTH: Final = 0.05  # bits a weight that rounding by scale must save
_NUDGES: Final = (-0.06, 0.0, 0.06)  # octaves of the dial: one rounding alone is a matter of chance


def choose_forms(started: Started) -> Started:
    """What goes on as it was, or with steps by scale and a note that says so.

    Only for a size, where few data say much, or there are no gradients, and some are set aside.
    """
    work, rounder = started.work, started.rounder
    target, judged = work.request.target, bool(started.held.judges)
    if started.compressed is not None or target is None or not judged:
        return started
    if not 0 < rounder.weights < _MANY:
        return started
    if work.model.gradients and not any(map(_is_little, rounder.curvature.values())):
        return started
    wanted = target.nbytes - fixed_size(started, AS_GIVEN)
    if wanted <= 0:
        return started
    plain = replace(started, rounder=_by_scale(rounder), record=Findings())
    gained = started.record.number(
        f"forms/{int(wanted)}", lambda: _loss(started, wanted) - _loss(plain, wanted)
    )
    if not gained >= _WORTH:  # nor where one of them gives no numbers
        return started
    note = (
        f"rounded by scale alone: on batches set aside it saves {gained:.2g} bits a weight beside "
        "what the calibration data tell; give more data, or data like those of real use"
    )
    return replace(plain, notes=(*started.notes, note))


def _is_little(found: Curvature) -> bool:
    """Whether a matrix was given few positions, but any at all."""
    return bool(0 < found.positions < _FEW * found.columns.shape[-1])


def _by_scale(rounder: Rounder) -> Rounder:
    return Rounder(
        rounder.source,
        rounder.schemes,
        rounder.curvature,
        gains=rounder.gains,
        effort=rounder.effort,
        threads=rounder.threads,
        options=replace(rounder.options, by_scale=True),
        scratch=rounder.scratch,
    )


def _loss(started: Started, wanted: float) -> float:
    """Octaves, as bits a weight, that are lost where the matrices take so many bytes."""
    rounder = started.rounder
    first = rounder.first_dial(8 * wanted / rounder.weights)
    at = rounder.dial_for(wanted, first)
    found = [loss_at(started, AS_GIVEN, at * 2.0**nudge) for nudge in _NUDGES]
    return sum(found) / len(found)
