"""What a call without calibration data writes: bit-exact tensors, or rounded ones of a size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.compression.request import Asked, Call, Decision, target_of
from taut.container import Origin
from taut.encoding.data_free import Quantizer, find_dial, lossy_schemes
from taut.encoding.estimate import estimate_tensors
from taut.encoding.model import predict_size
from taut.encoding.tensor import check_schemes
from taut.errors import ArgumentError
from taut.io import Source
from taut.planning import Target
from taut.scheme import Scheme

if TYPE_CHECKING:
    pass

_NEAR = 1.25  # an estimate from samples is rarely further off than this


def decide(source: Source, asked: Asked, origin: Origin) -> Decision:
    """What a call without calibration data writes.

    Raises:
        ArgumentError: what was asked for does not fit together.
        TargetError: the size cannot be met.
    """
    call, schemes = asked.call, asked.schemes
    for name, value in (("max_drop", call.max_drop), ("evaluate", call.evaluate)):
        if value is not None:
            raise ArgumentError(f"{name}: goes with calibration data; give calib too")
    check_schemes(source, schemes)
    if call.bits is None and call.size is None:
        effort = call.effort or _default_effort(schemes)
        rounded = [scheme for scheme in schemes.values() if scheme.kind == "rd"]
        if any(scheme.bits is None for scheme in rounded):
            raise ArgumentError("plan: rd needs bits or size for the whole model, or rd:BITS")
        return Decision(source, schemes, effort, Quantizer(1.0, effort) if rounded else None)
    target = target_of(source, call)
    if target is None or exact_fits(source, schemes, target, call, origin):
        return Decision(source, schemes, call.effort or "fast")
    effort = call.effort or "max"
    schemes = lossy_schemes(source, schemes, asked.fixed)
    quantizer = find_dial(
        source,
        schemes,
        target,
        effort=effort,
        threads=call.threads,
        origin=origin,
        gains=asked.gains,
    )
    return Decision(source, schemes, effort, quantizer, quantizer.size)


def exact_fits(
    source: Source,
    schemes: Mapping[str, Scheme],
    target: Target,
    call: Call,
    origin: Origin,
) -> bool:
    """Whether the bit-exact file is small enough already: then nothing has to be lost.

    All is coded only where an estimate comes near the target.
    """
    if any(scheme.kind == "rd" for scheme in schemes.values()):
        return False
    effort = call.effort or "fast"
    _, about = estimate_tensors(source, schemes, effort)
    if about > _NEAR * target.nbytes:
        return False
    size = predict_size(source, schemes, effort=effort, threads=call.threads, origin=origin)
    return size <= target.nbytes


def _default_effort(schemes: Mapping[str, Scheme]) -> Effort:
    exact = all(scheme.kind in ("keep", "lossless") for scheme in schemes.values())
    return "fast" if exact else "max"
