"""What a call with calibration data writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from taut.compression.exact import exact_fits
from taut.compression.request import Asked, Decision, target_of
from taut.container import Origin
from taut.encoding.data_free import lossy_schemes
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.io.identity import model_identity, plan_identity
from taut.progress import Progress
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.calibration import Request


def decide_calibrated(
    source: Source,
    asked: Asked,
    origin: Origin,
    spec: object,
    *,
    journal_beside: Path | None = None,
    progress: Progress | None = None,
) -> Decision:
    """What a call with calibration data writes: opens the model that runs, and its data.

    Raises:
        ArgumentError: the model cannot be run, or the data does not fit it.
        TargetError: the size or the score cannot be met.
    """
    from taut.calibration import Findings, Request, Run, calibrated_schemes
    from taut.calibration.collected import NO_LOSS
    from taut.journal.journal import Journal
    from taut.networks import open_calibration, open_model
    from taut.planning.max_drop import parse_drop

    call = asked.call
    allowed = None if call.max_drop is None else parse_drop(call.max_drop)
    target = target_of(source, call)
    if allowed is not None and call.evaluate is None:
        raise ArgumentError("max_drop: give the score that may fall so far, as evaluate (--eval)")
    if target and allowed is None and exact_fits(source, asked.schemes, target, call, origin):
        return Decision(source, asked.schemes, call.effort or "fast")
    schemes = calibrated_schemes(source, asked.schemes, asked.fixed)
    if not any(scheme.kind == "rd" for scheme in schemes.values()):
        schemes = lossy_schemes(source, schemes, asked.fixed)  # raises: nothing to quantise
    dialled = any(s.kind == "rd" and s.bits is None for s in schemes.values())
    if allowed is None and target is None and dialled:
        raise ArgumentError("calib: give bits, size or max_drop for what it is to serve")
    model = open_model(spec)  # type: ignore[arg-type]  # refused in words there
    if call.loss is not None and not model.gradients:
        raise ArgumentError(NO_LOSS)
    request = Request(
        target,
        allowed,
        call.evaluate,
        call.loss,
        finish=call.finish is not False and model.gradients,
        sequential=model.gradients,
        effort=call.effort or "max",
        threads=call.threads,
        seed=call.seed or 0,
        gains=asked.gains,
    )
    calibration = open_calibration(call.calib, model)  # type: ignore[arg-type]
    if journal_beside is None:
        record = Findings()
    else:
        identity = _identity(source, schemes, request, calibration.digest)
        record = Findings(Journal.open(journal_beside, identity, resume=call.resume))
    try:
        ready = Run(source, schemes, model, calibration, request, origin, progress, record).ready()
    except TargetError:
        record.discard()  # there is nothing to go on with
        raise
    except BaseException:
        record.close()
        raise
    return Decision(
        ready.source, schemes, request.effort, ready.quantize, ready.quantize.size, ready
    )


def _identity(
    source: Source, schemes: Mapping[str, Scheme], request: Request, data: str
) -> dict[str, str]:
    """What a calibrated run is made from, in parts that a message can name.

    The score's function is not among them: scores are kept under its name and code.
    """
    from taut.calibration import code_identity
    from taut.version import __version__

    target, allowed = request.target, request.allowed
    plan = plan_identity(
        {name: f"{scheme} {request.gains.get(name, 1.0)!r}" for name, scheme in schemes.items()},
        effort=request.effort,
        sequential=request.sequential,
        options=repr(request.options),
    )
    return {
        "model": model_identity(source),
        "plan": plan,
        "target": ", ".join(
            ([f"{target.nbytes} bytes"] if target else []) + ([allowed.text] if allowed else [])
        ),
        "finish": str(request.finish),
        "calibration": data,
        "loss": code_identity(request.loss),
        "seed": str(request.seed),
        "version": __version__,
    }
