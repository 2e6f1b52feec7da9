"""What a caller asks of a compression, joined with its plan: schemes, target, effort."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.coding import Effort
from taut.container import Origin
from taut.encoding.model import Plan as Schemes
from taut.encoding.model import resolve_plan
from taut.encoding.tensor import Quantize
from taut.errors import ArgumentError
from taut.io import Source
from taut.io.source import parameters_of
from taut.planning import Target, load_plan, parse_target, quantisable, resolve
from taut.scheme import Scheme

if TYPE_CHECKING:
    import torch

    from taut.calibration import Ready
    from taut.networks import CalibrationSpec
    from taut.planning import Plan, Recipe
    from taut.scoring.user_score import ScoreFunction
    from taut.training.data import TeacherSpec, TrainSpec


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


def target_of(source: Source, call: Call) -> Target | None:
    """The size asked for in bytes; None if none was."""
    if call.bits is None and call.size is None:
        return None
    return parse_target(
        bits=call.bits, size=call.size, original=source.nbytes, parameters=parameters_of(source)
    )
