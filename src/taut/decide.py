"""From what a caller asks of a compression to what is to be written: schemes, effort, quantiser."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.container import Origin
from taut.encode import Quantize, check_schemes
from taut.errors import ArgumentError, TargetError
from taut.estimate import estimate_tensors
from taut.fill import Plan as Schemes
from taut.fill import Progress, predict_size, resolve_plan
from taut.identity import model_identity, plan_identity
from taut.io import Source
from taut.io.onnx import GRAPH
from taut.lossy import Quantizer, find_dial, lossy_schemes
from taut.plan import Target, load_plan, parse_target, quantisable, resolve
from taut.scheme import Scheme

if TYPE_CHECKING:
    import torch

    from taut.calibrate import Ready, Request
    from taut.calibrate.score import ScoreFunction
    from taut.inputs import CalibrationSpec
    from taut.plan import Plan, Recipe
    from taut.training.inputs import TeacherSpec, TrainSpec

_NEAR = 1.25  # an estimate from samples is rarely further off than this


@dataclass(frozen=True)
class Call:
    """What was asked for, as the verb `compress` takes it."""

    bits: float | None = None
    size: str | int | None = None
    max_drop: str | float | None = None
    calib: CalibrationSpec | None = None
    evaluate: ScoreFunction | None = None
    loss: Callable[[object, object], torch.Tensor] | None = None
    plan: Plan | Schemes | str | Path | None = None
    effort: Effort | None = None
    threads: int = 1
    finish: bool | None = None
    seed: int | None = None
    resume: bool = False
    train: TrainSpec | None = None
    teacher: TeacherSpec | None = None
    epochs: int | None = None
    lr: float | None = None


@dataclass(frozen=True)
class Asked:
    """A call and its plan as one: `schemes` of every stored tensor.

    `fixed` are those that the plan names; `gains` multiply the steps of single tensors; `recipe` is
    what its steps ask for.
    """

    call: Call
    schemes: Mapping[str, Scheme]
    fixed: Collection[str] = ()
    gains: Mapping[str, float] = field(default_factory=dict)
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Decision:
    """What to write: the tensors of `source`, by `schemes`.

    `ready` is of a calibrated run or a training, `origin` what the file is to remember, where that
    is not what it was made from.
    """

    source: Source
    schemes: Mapping[str, Scheme]
    effort: Effort
    quantize: Quantize | None = None
    size: int | None = None
    ready: Ready | None = None
    origin: Origin | None = None


def read_call(source: Source, call: Call) -> Asked:
    """Join a call with its plan; what the call says itself comes first.

    Raises:
        ArgumentError: the plan cannot be read, or does not fit the model.
    """
    if call.seed is not None and call.seed < 0:
        raise ArgumentError(f"seed: {call.seed} is below zero")
    for name in ("teacher", "epochs", "lr"):
        if call.train is None and getattr(call, name) is not None:
            raise ArgumentError(f"{name}: goes with train; give what the model is trained on")
    if call.effort not in (None, "fast", "max"):
        raise ArgumentError(f'effort: {call.effort!r} is unknown; "fast" or "max"')
    if call.plan is None or isinstance(call.plan, Mapping):
        return Asked(call, resolve_plan(source, call.plan), frozenset(call.plan or ()))
    plan = load_plan(call.plan) if isinstance(call.plan, str | Path) else call.plan
    if not hasattr(plan, "rules"):
        resolve_plan(source, plan)  # type: ignore[arg-type]  # raises: this is no plan
    found = resolve(plan, source.infos, source.aliases)
    named = {name: one for name, one in found.items() if one is not None}
    goal = plan.target
    if goal is not None and (call.bits, call.size, call.max_drop) == (None, None, None):
        call = replace(call, bits=goal.bits, size=goal.size, max_drop=goal.max_drop)
    call = replace(
        call,
        effort=call.effort or plan.effort,
        finish=plan.finish if call.finish is None else call.finish,
        seed=plan.seed if call.seed is None else call.seed,
    )
    schemes = {name: named[name].scheme if name in named else Scheme() for name in found}
    gains = {name: one.weight for name, one in named.items() if one.weight != 1}
    recipe = plan.recipe if plan.steps else None
    if recipe is not None and call.train is None:
        schemes = _without_training(source, schemes, recipe)
    return Asked(call, schemes, frozenset(named), gains, recipe)


def _without_training(
    source: Source, schemes: Mapping[str, Scheme], recipe: Recipe
) -> dict[str, Scheme]:
    """The schemes with the mask that a plan's steps ask for, of every matrix that has none.

    Raises:
        ArgumentError: the steps want more than a mask.
    """
    for name, step in (("train", recipe.training), ("channels", recipe.channels)):
        if step is not None:
            raise ArgumentError(
                f"plan: its step {name} wants training data; give train (--train), or leave it out"
            )
    mask, masked = recipe.mask, dict(schemes)
    if mask is None:
        return masked
    if mask.block is not None or mask.method not in ("magnitude", "global"):
        raise ArgumentError(f"plan: a mask by {mask.method} wants training data; give train")
    for info in source.infos:
        scheme = masked.get(info.name)
        if scheme is None or scheme.kind == "keep" or not quantisable(info.dtype, info.shape):
            continue
        if (scheme.sparsity, scheme.n_of_m) == (None, None):
            masked[info.name] = replace(scheme, sparsity=mask.sparsity, n_of_m=mask.n_of_m)
    return masked


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
    if target is None or _exact_fits(source, schemes, target, call, origin):
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


def target_of(source: Source, call: Call) -> Target | None:
    """The size asked for in bytes; None if none was."""
    if call.bits is None and call.size is None:
        return None
    return parse_target(
        bits=call.bits, size=call.size, original=source.nbytes, parameters=parameters_of(source)
    )


def parameters_of(source: Source) -> int:
    """How many values the model has, tied ones once; the graph of an ONNX model is none."""
    beside = {*source.aliases, source.metadata.get(GRAPH)}
    return sum(prod(i.shape) for i in source.infos if i.name not in beside)


def _exact_fits(
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
    from taut.calibrate import Record, Request, Run, calibrated_schemes, parse_drop
    from taut.calibrate.collected import NO_LOSS
    from taut.inputs import open_calibration, open_model
    from taut.journal import Journal

    call = asked.call
    allowed = None if call.max_drop is None else parse_drop(call.max_drop)
    target = target_of(source, call)
    if allowed is not None and call.evaluate is None:
        raise ArgumentError("max_drop: give the score that may fall so far, as evaluate (--eval)")
    if target and allowed is None and _exact_fits(source, asked.schemes, target, call, origin):
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
        record = Record()
    else:
        identity = _identity(source, schemes, request, calibration.digest)
        record = Record(Journal.open(journal_beside, identity, resume=call.resume))
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
    from taut import __version__
    from taut.calibrate import code_identity

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
