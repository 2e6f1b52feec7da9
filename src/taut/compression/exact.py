"""What a call without calibration data writes: bit-exact tensors, or rounded ones of a size."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from taut.coding import Effort
from taut.compression.held_exact import refuse_held
from taut.compression.request import Asked, Call, Decision
from taut.container import Origin
from taut.encoding.data_free import (
    KnownSizes,
    Quantizer,
    SizeRequest,
    find_dial,
    lossy_schemes,
)
from taut.encoding.estimate import estimate_tensors
from taut.encoding.few_valued import few_spared
from taut.encoding.model import FilesToBe, predict_size
from taut.encoding.on_base import base_under
from taut.encoding.tensor import check_schemes
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.io.source import fixed_of
from taut.planning import Target, free_schemes
from taut.progress import Progress
from taut.scheme import Scheme

_NEAR = 1.25  # an estimate from samples is rarely further off than this


def decide(
    source: Source,
    asked: Asked,
    origin: Origin,
    *,
    files: FilesToBe | None = None,
    known: KnownSizes | None = None,
    foresee: bool = False,
    progress: Progress | None = None,
) -> Decision:
    """What a call without calibration data writes; `files` where the model becomes several.

    With `foresee` `source` is sampled (`taut.encoding.sampled`), and sizes are guesses.
    `progress` is told of the search for a size.

    Raises:
        ArgumentError: what was asked for does not fit together.
        TargetError: the size cannot be met.
    """
    call = asked.call
    for name, value in (("max_drop", call.max_drop), ("score", call.score)):
        if value is not None:
            raise ArgumentError(f"{name}: goes with calibration data; give calib too")
    check_schemes(source, asked.schemes)
    target = asked.target(source)
    if target is None:
        return _by_schemes(source, asked, origin)
    request = SizeRequest(
        source=source,
        schemes=asked.schemes,
        target=target,
        effort=call.effort or "max",
        origin=origin,
        threads=call.threads,
        gains=asked.gains,
        files=files,
        known=known,
        foresee=foresee,
        progress=progress,
    )
    fits = _fits(request, asked.schemes, call)
    if fits is not None:
        return bit_exact(source, asked, origin, fits)
    return _of_size(request, asked)


def bit_exact(source: Source, asked: Asked, origin: Origin, effort: Effort) -> Decision:
    """The schemes that were asked for, of which none loses anything to a dial."""
    return Decision(source=source, schemes=asked.schemes, effort=effort, origin=origin)


def _by_schemes(source: Source, asked: Asked, origin: Origin) -> Decision:
    """The schemes that were asked for, each as it says: no size is to be met."""
    schemes = asked.schemes
    effort = asked.call.effort or _default_effort(schemes)
    rounded = [scheme for scheme in schemes.values() if scheme.kind == "rd"]
    if any(scheme.bits is None for scheme in rounded):
        raise ArgumentError("plan: rd needs bits or size for the whole model, or rd:BITS")
    if rounded:
        schemes = few_spared(source, schemes, effort=effort, threads=asked.call.threads)
    quantize = Quantizer(1.0, effort) if rounded else None
    return Decision(source=source, schemes=schemes, effort=effort, origin=origin, quantize=quantize)


def _of_size(request: SizeRequest, asked: Asked) -> Decision:
    """Matrices rounded until the file has the size; as they are where that has room."""
    source, origin, effort = request.source, request.origin, request.effort
    schemes = free_schemes(source, asked.schemes, {*asked.settled, *fixed_of(source)})
    spared = {name: _spared(scheme) for name, scheme in schemes.items()}
    if spared != asked.schemes:
        fits = _fits(request, spared, replace(asked.call, effort=effort))
        if fits is not None:
            return Decision(source=source, schemes=spared, effort=effort, origin=origin)
    found, quantizer = _dial_of(replace(request, schemes=_roundable(source, asked)))
    return Decision(
        source=source,
        schemes=found.schemes,
        effort=effort,
        origin=origin,
        quantize=quantizer,
        size=quantizer.size,
    )


def _spared(scheme: Scheme) -> Scheme:
    """A scheme without its dial; what its mask takes is taken still."""
    dialled = scheme.kind == "rd" and scheme.bits is None
    return replace(scheme, kind="lossless") if dialled else scheme


def _roundable(source: Source, asked: Asked) -> dict[str, Scheme]:
    """`lossy_schemes`; where nothing is to be rounded for its values, the error names them."""
    try:
        return lossy_schemes(source, asked.schemes, asked.settled)
    except TargetError:
        if asked.held:
            refuse_held(source, asked.held)
        raise


def _dial_of(request: SizeRequest) -> tuple[SizeRequest, Quantizer]:
    """The dial that meets the size, masks and their like left as they are where that serves."""
    schemes = few_spared(
        request.source, request.schemes, effort=request.effort, threads=request.threads
    )
    if schemes != request.schemes and "rd" in {scheme.kind for scheme in schemes.values()}:
        spared = replace(request, schemes=schemes)
        with contextlib.suppress(TargetError):
            return spared, find_dial(spared)
    return request, find_dial(request)


def _fits(request: SizeRequest, schemes: Mapping[str, Scheme], call: Call) -> Effort | None:
    """`exact_fits` of a request for a size; of one that is to be foreseen, by the estimate."""
    source, target = request.source, request.target
    if not request.foresee:
        return exact_fits(
            *(source, schemes, target, call, request.origin),
            files=request.files,
            progress=request.progress,
        )
    if any(scheme.kind == "rd" for scheme in schemes.values()):
        return None
    for effort in efforts_of(call):
        if estimate_tensors(source, schemes, effort)[1] <= target.nbytes:
            return effort
    return None


def efforts_of(call: Call) -> tuple[Effort, ...]:
    """The efforts that a call leaves to be tried, the least first."""
    return ("fast", "max") if call.effort is None else (call.effort,)


def exact_fits(
    source: Source,
    schemes: Mapping[str, Scheme],
    target: Target | None,
    call: Call,
    origin: Origin,
    files: FilesToBe | None = None,
    progress: Progress | None = None,
) -> Effort | None:
    """The least effort at which the bit-exact file is small enough already; None if none is.

    Nothing has to be lost then. All is coded only where an estimate comes near the target; on a
    base it always is, since no estimate knows what of a tensor is the base's.
    """
    if target is None or any(scheme.kind == "rd" for scheme in schemes.values()):
        return None
    based, about = base_under(source) is not None, 0.0
    for effort in efforts_of(call):
        if not based:
            _, about = estimate_tensors(source, schemes, effort)
        if about <= _NEAR * target.nbytes:
            about = size = predict_size(
                source,
                schemes,
                effort=effort,
                threads=call.threads,
                origin=origin,
                files=files,
                progress=progress,
            )
            if size <= target.nbytes:
                return effort
    return None


def _default_effort(schemes: Mapping[str, Scheme]) -> Effort:
    exact = all(scheme.kind in ("keep", "lossless") for scheme in schemes.values())
    return "fast" if exact else "max"
