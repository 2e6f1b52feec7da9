"""What a call without calibration data writes: bit-exact tensors, or rounded ones of a size."""

from __future__ import annotations

from collections.abc import Mapping

from taut.coding import Effort
from taut.compression.request import Asked, Call, Decision, target_of
from taut.container import Origin
from taut.encoding.data_free import Quantizer, SizeRequest, find_dial, lossy_schemes
from taut.encoding.estimate import estimate_tensors
from taut.encoding.model import predict_size
from taut.encoding.tensor import check_schemes
from taut.errors import ArgumentError
from taut.io import Source
from taut.planning import Target
from taut.scheme import Scheme

_NEAR = 1.25  # an estimate from samples is rarely further off than this


def decide(source: Source, asked: Asked, origin: Origin) -> Decision:
    """What a call without calibration data writes.

    Raises:
        ArgumentError: what was asked for does not fit together.
        TargetError: the size cannot be met.
    """
    call = asked.call
    for name, value in (("max_drop", call.max_drop), ("score", call.score)):
        if value is not None:
            raise ArgumentError(f"{name}: goes with calibration data; give calib too")
    check_schemes(source, asked.schemes)
    target = target_of(source, call)
    if target is None:
        return _by_schemes(source, asked, origin)
    if exact_fits(source, asked.schemes, target, call, origin):
        return bit_exact(source, asked, origin)
    return _of_size(source, asked, origin, target)


def bit_exact(source: Source, asked: Asked, origin: Origin) -> Decision:
    """The schemes that were asked for, of which none loses anything to a dial."""
    effort = asked.call.effort or "fast"
    return Decision(source=source, schemes=asked.schemes, effort=effort, origin=origin)


def _by_schemes(source: Source, asked: Asked, origin: Origin) -> Decision:
    """The schemes that were asked for, each as it says: no size is to be met."""
    schemes = asked.schemes
    effort = asked.call.effort or _default_effort(schemes)
    rounded = [scheme for scheme in schemes.values() if scheme.kind == "rd"]
    if any(scheme.bits is None for scheme in rounded):
        raise ArgumentError("plan: rd needs bits or size for the whole model, or rd:BITS")
    quantize = Quantizer(1.0, effort) if rounded else None
    return Decision(source=source, schemes=schemes, effort=effort, origin=origin, quantize=quantize)


def _of_size(source: Source, asked: Asked, origin: Origin, target: Target) -> Decision:
    """Matrices rounded until the file has the size."""
    effort = asked.call.effort or "max"
    schemes = lossy_schemes(source, asked.schemes, asked.settled)
    quantizer = find_dial(
        SizeRequest(
            source=source,
            schemes=schemes,
            target=target,
            effort=effort,
            origin=origin,
            threads=asked.call.threads,
            gains=asked.gains,
        )
    )
    return Decision(
        source=source,
        schemes=schemes,
        effort=effort,
        origin=origin,
        quantize=quantizer,
        size=quantizer.size,
    )


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
