"""The size of the file at a dial, and the dial for a size."""

from __future__ import annotations

from collections.abc import Mapping

from taut.calibration.findings import dial_text
from taut.calibration.overlay import OverlayPart
from taut.calibration.rounder import MOST_BITS
from taut.calibration.start import Started
from taut.calibration.vectors import Vectors
from taut.encoding.model import predict_size
from taut.io import Source
from taut.machine import trim_heap
from taut.planning import Target, meet_target
from taut.scheme import Scheme

_ZERO = 2.0**40  # a dial that leaves no index


def size_at(started: Started, vectors: Vectors, dial: float, *, of: str = "") -> int:
    """Bytes of the file at a dial, with these vectors; `of` names the pass that the dial ends."""
    work, rounder = started.work, started.rounder

    def coded() -> int:
        rounder.turn(dial, work.progress)
        return _predicted(started, vectors.over(work.source), work.schemes)

    key = f"size/{dial_text(dial)}/{dial_text(vectors.dial)}/{rounder.follows:d}{of}"
    return int(started.record.number(key, coded))


def fixed_size(started: Started, vectors: Vectors) -> float:
    """Bytes of all that does not hang on the dial."""
    work = started.work
    exact = {
        name: Scheme() if one.kind == "rd" and one.bits is None else one
        for name, one in work.schemes.items()
    }
    rest = {name for name, one in work.schemes.items() if exact[name] == one}
    started.rounder.round_own(work.progress)
    return float(_predicted(started, OverlayPart(vectors.over(work.source), rest), exact))


def meet_size(
    started: Started, vectors: Vectors, target: Target, *, fixed: float, first: float
) -> float:
    """The dial at which the file has the size; `fixed` bytes of it do not hang on the dial.

    Raises:
        TargetError: no dial gives that size.
    """
    rounder = started.rounder
    found = meet_target(
        target,
        lambda dial: size_at(started, vectors, min(dial, _ZERO)),
        lambda dial: fixed + rounder.estimate(min(dial, _ZERO)),
        weights=max(1, rounder.weights),
        first=first,
        finest=rounder.first_dial(MOST_BITS) if rounder.weights else 0.0,
    )
    return min(found.dial, _ZERO)


def _predicted(started: Started, source: Source, schemes: Mapping[str, Scheme]) -> int:
    work = started.work
    trim_heap()
    return predict_size(
        source,
        schemes,
        effort=work.request.effort,
        threads=work.request.threads,
        quantize=started.rounder,
        origin=work.origin,
    )
