"""What a caller asks of a compression, joined with its plan: schemes, target, effort."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from taut.coding import Effort
from taut.container import BaseSpec, Origin
from taut.encoding.model import Plan as Schemes
from taut.encoding.model import resolve_plan
from taut.encoding.tensor import Quantize
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.source import fixed_of, parameters_of
from taut.machine.workers import LocalWorkers, Workers
from taut.networks.chosen_outputs import OutputShares, SharesSpec
from taut.networks.outputs import said_outputs
from taut.planning import Target, load_plan, parse_target, quantisable, resolve
from taut.planning.divides import divides
from taut.planning.max_drop import Allowed, parse_drop
from taut.planning.passed_by import passed_note, passed_notes
from taut.planning.pattern import is_name
from taut.progress import Progress
from taut.scheme import Scheme

if TYPE_CHECKING:
    import torch

    from taut.analysis import Curvature
    from taut.calibration import Ready
    from taut.networks import CalibrationSpec
    from taut.networks.sources import Model
    from taut.planning import Plan, Recipe, Resolved
    from taut.scoring.user_score import ScoreFunction
    from taut.training.data import TeacherSpec, TrainSpec


# What changes nothing without calibration data, and the option that says it.
_WITH_DATA: Final = {
    "memory": "--memory",
    "scratch": "--scratch",
    "device": "--device",
    "output": "--output-kind",
    "outputs": "--outputs",
}
_LOSSY: Final = ("bits", "size", "max_drop", "calib", "plan")


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was asked for, as the verb `compress` takes it."""

    bits: float | None = None
    size: str | int | None = None
    max_drop: str | float | None = None
    calib: CalibrationSpec | None = None
    score: ScoreFunction | None = None
    loss: Callable[[object, object], torch.Tensor] | None = None
    output: str | Mapping[str, str] | None = None
    outputs: SharesSpec | None = None
    plan: Plan | Schemes | str | Path | None = None
    effort: Effort | None = None
    threads: int = 1
    finish: bool | None = None
    fold: bool | None = None
    seed: int | None = None
    resume: bool = False
    memory: str | int | None = None
    scratch: str | Path | None = None
    device: str | None = None
    shard_size: str | int | None = None
    train: TrainSpec | None = None
    teacher: TeacherSpec | None = None
    epochs: int | None = None
    lr: float | None = None
    workers: Workers = field(default_factory=LocalWorkers)

    @property
    def runs(self) -> bool:
        """Whether the network runs on data, which may be an array that compares by its values."""
        return self.calib is not None or self.train is not None


@dataclass(frozen=True, kw_only=True)
class CompressRequest:
    """A call, with what it reads and where it writes; nothing is written in a dry run.

    `base` is what a delta is to stand on. `forms` hands the curvature of matrices on between calls
    with the same network and data.
    """

    src: Model
    dst: str | Path | None = None
    call: Call = Call()
    base: BaseSpec | None = None
    force: bool = False
    dry_run: bool = False
    progress: Progress | None = None
    forms: dict[str, Curvature | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call and its plan as one: `schemes` of every stored tensor.

    `fixed` are those that the plan decides, `named` those that it names in full; `held` are such
    as no scheme can round, which stay bit-exact (exact_only.py). `notes` say so, and which tensors
    its patterns passed by. `gains` multiply the steps of single tensors; `recipe` is what its steps
    ask for. Of the size asked for `beside` bytes go to the model becoming several files.
    """

    call: Call
    schemes: Mapping[str, Scheme]
    fixed: Collection[str] = ()
    named: Collection[str] = ()
    held: Collection[str] = ()
    notes: tuple[str, ...] = ()
    gains: Mapping[str, float] = field(default_factory=dict)
    recipe: Recipe | None = None
    beside: int = 0

    def target(self, source: Source) -> Target | None:
        """The size asked for, of what is stored of the tensors; None if none was."""
        target = target_of(source, self.call)
        return None if target is None else target.less(self.beside)

    @property
    def settled(self) -> frozenset[str]:
        """The tensors whose schemes nothing else may change."""
        return frozenset(self.fixed) | frozenset(self.held)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to write: the tensors of `source`, by `schemes`.

    `origin` is what the file is to remember, `size` in bytes what a search for it found, `ready` is
    of a calibrated run or a training.
    """

    source: Source
    schemes: Mapping[str, Scheme]
    effort: Effort
    origin: Origin
    quantize: Quantize | None = None
    size: int | None = None
    ready: Ready | None = None


def loses(call: Call) -> bool:
    """Whether a call, or its plan, asks for anything but every bit as it is.

    Raises:
        ArgumentError: its plan cannot be read.
    """
    asked = (call.bits, call.size, call.max_drop, call.calib, call.train)
    return any(one is not None for one in asked) or _plan_loses(call.plan)


def _plan_loses(plan: Plan | Schemes | str | Path | None) -> bool:
    found = load_plan(plan) if isinstance(plan, str | Path) else plan
    if found is None or isinstance(found, Mapping):
        return any(_scheme_loses(one) for one in (found or {}).values())
    if not hasattr(found, "rules"):
        return True  # no plan: refused where it is read
    schemes = (rule.scheme for rule in found.rules)
    return bool(found.steps) or found.target is not None or any(map(_scheme_loses, schemes))


def _scheme_loses(scheme: Scheme | str) -> bool:
    return str(scheme) not in ("lossless", "keep")


def read_call(source: Source, call: Call) -> Asked:
    """Join a call with its plan; what the call says itself comes first.

    Raises:
        ArgumentError: the plan cannot be read, or does not fit the model.
    """
    _check_call(call)
    if call.plan is None or isinstance(call.plan, Mapping):
        schemes = resolve_plan(source, call.plan)
        fixed = frozenset(call.plan or ())
        return Asked(call=call, schemes=schemes, fixed=fixed, named=fixed)
    return _by_rules(source, call, _read_plan(source, call.plan))


def _read_plan(source: Source, plan: Plan | str | Path) -> Plan:
    """A plan, or that of a file; raises ArgumentError if it is none."""
    found = load_plan(plan) if isinstance(plan, str | Path) else plan
    if not hasattr(found, "rules"):
        resolve_plan(source, found)  # type: ignore[arg-type]  # raises: this is no plan
    return found


def _by_rules(source: Source, call: Call, plan: Plan) -> Asked:
    """A call with a plan of rules and steps."""
    found = resolve(plan, source.infos, source.aliases)
    named = _decided(source, plan, found)
    schemes = {name: named[name].scheme if name in named else Scheme() for name in found}
    recipe = plan.recipe if plan.steps else None
    notes = passed_notes(plan, source.infos, found)
    if recipe is not None and call.train is None:
        schemes, more = _without_training(source, schemes, recipe)
        notes += more
    return Asked(
        call=_completed(call, plan),
        schemes=schemes,
        fixed=frozenset(named),
        named=_in_full(plan, named),
        gains={name: one.weight for name, one in named.items() if one.weight != 1},
        recipe=recipe,
        notes=tuple(notes),
    )


def _decided(
    source: Source, plan: Plan, found: Mapping[str, Resolved | None]
) -> dict[str, Resolved]:
    """The tensors that a rule decides, and how; patterns are not for those that must stay."""
    passed = fixed_of(source)
    return {
        name: one
        for name, one in found.items()
        if one is not None and (name not in passed or plan.rules[one.rule - 1].match == name)
    }


def _in_full(plan: Plan, decided: Mapping[str, Resolved]) -> frozenset[str]:
    """The tensors that the rules which decide them name in full."""
    rules = plan.rules
    return frozenset(name for name, one in decided.items() if is_name(rules[one.rule - 1].match))


def check_words(given: Mapping[str, object]) -> None:
    """Raise `ArgumentError` for what a call's other words make sense of nowhere.

    `given` has these words by the names that `Call` has for them; what is not there is None.
    """
    said_outputs(cast("str | Mapping[str, str] | None", given.get("output")))
    OutputShares.said(cast("SharesSpec | None", given.get("outputs")))
    for name, option in (("outputs", "--outputs"), ("output", "--output-kind")):
        if given.get(name) is not None and given.get("loss") is not None:
            raise ArgumentError(
                f"{name} ({option}): the loss says what counts; leave one of the two out"
            )
    for name, option in _WITH_DATA.items():
        if given.get("calib") is None and given.get(name) is not None:
            raise ArgumentError(
                f"{name} ({option}): goes with calibration data; give calib (--calib), or leave it "
                "out"
            )
    if given.get("calib") is None and given.get("finish") is False:
        raise ArgumentError(
            "finish (--no-finish): nothing is tuned without calibration data; leave it out"
        )
    if given.get("fold") is not None and all(given.get(name) is None for name in _LOSSY):
        raise ArgumentError(
            "fold (--no-fold): batch norms are folded only where weights are rounded; give bits, "
            "size or calib, or leave it out"
        )


def check_purpose(given: Mapping[str, object]) -> None:
    """Raise `ArgumentError` for data that serve nothing, or a score that may fall without data.

    `given` is as `check_words` takes it.
    """
    runs = [name for name in ("calib", "train") if given.get(name) is not None]
    if given.get("max_drop") is not None and not runs:
        raise ArgumentError(
            "max_drop (--max-drop): goes with calibration data; give calib (--calib) too"
        )
    if runs and all(given.get(name) is None for name in ("bits", "size", "max_drop", "plan")):
        raise ArgumentError(
            f"{runs[0]} (--{runs[0]}): give bits, size or max_drop for what it is to serve"
        )


def _check_call(call: Call) -> None:
    """Whether a call makes sense by itself; raises ArgumentError if not."""
    check_words(vars(call))
    check_purpose(vars(call))
    if call.seed is not None and call.seed < 0:
        raise ArgumentError(f"seed: {call.seed} is below zero")
    for name in ("teacher", "epochs", "lr"):
        if call.train is None and getattr(call, name) is not None:
            raise ArgumentError(f"{name}: goes with train; give what the model is trained on")
    if call.effort not in (None, "fast", "max"):
        raise ArgumentError(f'effort: {call.effort!r} is unknown; "fast" or "max"')


def _completed(call: Call, plan: Plan) -> Call:
    """The call with what its plan says, where it says nothing itself."""
    goal = plan.target
    if goal is not None and (call.bits, call.size, call.max_drop) == (None, None, None):
        call = replace(call, bits=goal.bits, size=goal.size, max_drop=goal.max_drop)
    return replace(
        call,
        effort=call.effort or plan.effort,
        finish=plan.finish if call.finish is None else call.finish,
        seed=plan.seed if call.seed is None else call.seed,
    )


def _without_training(
    source: Source, schemes: Mapping[str, Scheme], recipe: Recipe
) -> tuple[dict[str, Scheme], list[str]]:
    """The schemes with the mask that a plan's steps ask for, of every matrix that has none.

    Beside them a note of the matrices that an N:M mask does not divide; they get none.

    Raises:
        ArgumentError: the steps want more than a mask.
    """
    _check_untrained(recipe)
    mask, masked = recipe.mask, dict(schemes)
    if mask is None:
        return masked, []
    alone = Scheme(sparsity=mask.sparsity, n_of_m=mask.n_of_m)
    free = [info for info in source.infos if _takes_mask(info, masked.get(info.name))]
    for info in free:
        if divides(alone, info.shape):
            kept = masked[info.name]
            masked[info.name] = replace(kept, sparsity=mask.sparsity, n_of_m=mask.n_of_m)
    passed = {info.name: info for info in free if not divides(alone, info.shape)}
    note = passed_note("the step mask", alone, list(passed), passed) if passed else ""
    return masked, [note] if note else []


def _check_untrained(recipe: Recipe) -> None:
    """Whether steps can be taken without training data; raises ArgumentError if not."""
    for name, step in (("train", recipe.training), ("channels", recipe.channels)):
        if step is not None:
            raise ArgumentError(
                f"plan: its step {name} wants training data; give train (--train), or leave it out"
            )
    mask = recipe.mask
    if mask is not None and (mask.block is not None or mask.method not in ("magnitude", "global")):
        raise ArgumentError(f"plan: a mask by {mask.method} wants training data; give train")


def _takes_mask(info: TensorInfo, scheme: Scheme | None) -> bool:
    """Whether a tensor is a matrix that may lose weights, and has no mask of its own."""
    if scheme is None:  # tied to another
        return False
    free = scheme.kind != "keep" and (scheme.sparsity, scheme.n_of_m) == (None, None)
    return free and quantisable(info.dtype, info.shape)


def target_of(source: Source, call: Call) -> Target | None:
    """The size asked for in bytes; None if none was."""
    if call.bits is None and call.size is None:
        return None
    return parse_target(
        bits=call.bits, size=call.size, original=source.nbytes, parameters=parameters_of(source)
    )


def allowed_of(call: Call) -> Allowed | None:
    """How far the score may fall; None if nothing is said of it.

    Raises:
        ArgumentError: `max_drop` cannot be read, or there is no score that may fall.
    """
    if call.max_drop is None:
        return None
    allowed = parse_drop(call.max_drop)
    if call.score is None:
        raise ArgumentError("max_drop: give the score that may fall so far, as score (--score)")
    return allowed
