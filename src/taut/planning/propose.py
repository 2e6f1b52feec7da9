"""From a report and a target to a scheme for every tensor, and to what that is expected to give.

Nothing is coded here: bits come from entropies at given steps, steps from one dial for all
matrices, weighed by curvature where it is known and by the root of their scale where not, as the
coder weighs them. So a size is a forecast; whoever carries the plan out meets it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from taut.analysis.statistics import Distribution
from taut.analysis.tensor_facts import Report, TensorFacts
from taut.errors import TargetError
from taut.planning.halves import serves_as_half
from taut.planning.rules import quantisable
from taut.planning.target import Target
from taut.scheme import Scheme

_TURNS: Final = 60


@dataclass(frozen=True)
class Forecast:
    """What schemes are expected to give: bytes of the file, and bits per value of each tensor."""

    nbytes: int
    bits: Mapping[str, float]


def choose_schemes(report: Report, target: Target | None) -> dict[str, Scheme]:
    """A scheme for every stored tensor: lossless for all where that meets the target already.

    Else the one dial for float matrices, fp16 for other floats that it holds, lossless for
    integers, for what is not finite, and for matrices of nothing but zeros.
    """
    stored = report.stored
    if target is not None and report.lossless <= target.nbytes:
        return {facts.name: Scheme() for facts in stored}
    return {facts.name: _scheme(facts) for facts in stored}


_MANTISSA: Final = {"F32": 13, "F64": 42}  # bits that fp16 has fewer
_NOISE: Final = 11


def forecast(report: Report, schemes: Mapping[str, Scheme], target: Target) -> Forecast:
    """The sizes at the dial that meets `target`.

    Raises:
        TargetError: the file is larger with every matrix zero; `best` is that size in bytes.
    """
    coded = sum(facts.lossless for facts in report.stored)
    fixed = max(0, report.lossless - coded)  # header, index and checksums
    bits: dict[str, float] = {}
    dialled: list[TensorFacts] = []
    for facts in report.stored:
        scheme = schemes[facts.name]
        if scheme.kind == "rd" and not facts.equal:
            dialled.append(facts)
            continue
        nbytes = _nbytes(facts, scheme)
        bits[facts.name] = 8 * nbytes / max(1, facts.parameters)
        fixed += int(nbytes)
    if fixed > target.nbytes:
        raise TargetError(
            f"{target.text} ({target.told:,} bytes) cannot be met: with every matrix zero the "
            f"file would still have about {fixed:,} bytes; ask for more",
            best=fixed,
        )
    bits |= _dialled(dialled, 8.0 * (target.nbytes - fixed))
    spent = sum(bits[facts.name] * facts.parameters for facts in dialled)
    return Forecast(fixed + math.ceil(spent / 8), bits)


def _nbytes(facts: TensorFacts, scheme: Scheme) -> float:
    """Bytes of a tensor that is not under the dial; under it one that equals another takes none."""
    if scheme.kind == "rd":
        return 0.0
    exact = float(facts.lossless)
    return _half_nbytes(facts, exact) if scheme.kind == "fp16" else exact


def _half_nbytes(facts: TensorFacts, exact: float) -> float:
    """About what a tensor takes as fp16: its exponents are coded as they are bit-exactly.

    Signs and mantissas, 11 bits of a value, are as good as noise.
    """
    count = facts.parameters
    shorter = exact - _MANTISSA.get(facts.dtype, 0) / 8 * count
    return min(exact, 2.0 * count, max(shorter, _NOISE / 8 * count))


def _scheme(facts: TensorFacts) -> Scheme:
    found = facts.distribution
    if found is None or found.nans or found.infinities:
        return Scheme()
    if quantisable(facts.dtype, facts.shape):
        # No predictions: float32, in which matrices are rounded, does not hold its values.
        return Scheme("rd") if facts.bounds and facts.predictions else Scheme()
    return Scheme("fp16") if _holds_half(facts, found) else Scheme()


def _holds_half(facts: TensorFacts, values: Distribution) -> bool:
    """Whether fp16 loses next to nothing of a tensor with such values."""
    half = facts.predictions.get("fp16")
    return half is not None and serves_as_half(
        facts.dtype, values.least, values.largest, half.rel_mse
    )


def _dialled(tensors: list[TensorFacts], total: float) -> dict[str, float]:
    """Bits per value of each tensor at the finest dial that takes at most `total` bits in all."""
    steps = _steps(tensors)

    def at(dial: float) -> dict[str, float]:
        return {t.name: _bits(t, dial + math.log2(steps[t.name])) for t in tensors}

    low, high = -200.0, 200.0  # log2
    for _ in range(_TURNS):
        middle = (low + high) / 2
        bits = at(middle)
        fits = sum(bits[t.name] * t.parameters for t in tensors) <= total
        low, high = (low, middle) if fits else (middle, high)
    return at(high)


def _steps(tensors: list[TensorFacts]) -> dict[str, float]:
    """Each tensor's step at a dial of 1, in its typical rows and columns.

    What has no curvature gets the middle one of all relative steps; if nothing has, steps go by
    the root of the scale.
    """
    known = [
        (step / t.distribution.rms, t.parameters)
        for t in tensors
        if (step := _own_step(t)) and t.distribution is not None
    ]
    if not known:
        return {t.name: math.sqrt(_rms(t)) for t in tensors}
    known.sort()
    counts = np.cumsum([count for _, count in known])
    middle = known[int(np.searchsorted(counts, counts[-1] / 2))][0]
    return {t.name: _own_step(t) or middle * _rms(t) for t in tensors}


def _own_step(facts: TensorFacts) -> float:
    """The step that curvature gives a tensor; 0 of none."""
    return 0.0 if facts.sensitivity is None else facts.sensitivity.step


def _rms(facts: TensorFacts) -> float:
    """The scale of a tensor's values; 1 where it is not known."""
    return facts.distribution.rms if facts.distribution else 1.0


def _bits(facts: TensorFacts, step: float) -> float:
    """Bits per value at a step, given as its log2: between the bounds, and theory beyond them."""
    points = sorted((math.log2(bound.step), bound.bits) for bound in facts.bounds)
    (first, most), (last, least) = points[0], points[-1]
    exact = 8 * facts.lossless / max(1, facts.parameters)
    if step < first:  # a bit for each halving, until nothing is lost
        return min(most + first - step, max(exact, most))
    if step > last:  # ever fewer values are not zero
        return least * math.exp2(2 * max(-300.0, last - step))
    return float(np.interp(step, [x for x, _ in points], [y for _, y in points]))
