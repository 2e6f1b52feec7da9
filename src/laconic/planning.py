"""The verb `plan`: from a report and what is asked of the file to rules that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laconic.analysis import analyze
from laconic.analyze.report import Report, TensorFacts
from laconic.errors import ArgumentError
from laconic.io import TensorInfo
from laconic.plan import Goal, Plan, Resolved, Target, dump_plan, parse_target, resolve
from laconic.plan.collapse import collapse
from laconic.plan.plan import read_plan
from laconic.plan.propose import Forecast, choose_schemes, forecast
from laconic.scheme import Scheme

if TYPE_CHECKING:
    from laconic.analyze.losses import Loss
    from laconic.coding import Effort
    from laconic.compress import Model
    from laconic.fill import Progress
    from laconic.inputs import CalibrationSpec

__all__ = ["Forecast", "Plan", "comment_plan", "forecast_plan", "plan"]


def plan(
    report: Report | Model,
    calib: CalibrationSpec | None = None,
    *,
    size: str | int | None = None,
    bits: float | None = None,
    max_drop: str | float | None = None,
    loss: Loss | None = None,
    effort: Effort | None = None,
    seed: int | None = None,
    finish: bool | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Propose a plan that meets a target: which tensor is to be stored how.

    `report` is what `analyze` gave, or a model, which is then analysed with `calib`. `size` is a
    ratio ("12x"), "12%", "4.2MB" or bytes, `bits` are per parameter of the whole model,
    `max_drop` is what the score may lose ("0.5%", or a number). What is lost goes to float
    matrices, by one dial; `effort`, `seed` and `finish` are passed on in the plan.

    Raises:
        ArgumentError: nothing is asked for, or what is asked for means nothing.
        TargetError: the size cannot be met; `best` is the least size foreseen, in bytes.

    >>> import numpy as np
    >>> model = {f"h.{i}.w": np.random.default_rng(i).normal(size=(64, 64)) for i in (0, 1)}
    >>> print(dump_plan(plan(model, bits=4)), end="")
    laconic: 1
    target: {bits: 4}
    rules:
    - {match: '*', scheme: rd}
    """
    if (size, bits, max_drop) == (None, None, None):
        raise ArgumentError("plan: give size, bits or max_drop, what is asked of the file")
    goal = Goal.model_validate({"size": size, "bits": bits, "max_drop": max_drop})
    if not isinstance(report, Report):
        report = analyze(
            report, calib, loss=loss, threads=threads, seed=seed or 0, progress=progress
        )
    elif calib is not None or loss is not None:
        raise ArgumentError("calib and loss: are for a model; the report was made with its own")
    target = _target(goal, report)
    schemes = choose_schemes(report, target)
    if target is not None:
        forecast(report, schemes, target)
    made = Plan(target=goal, effort=effort, seed=seed, finish=finish, rules=collapse(schemes))
    assert {name: one.scheme for name, one in _resolved(made, report).items()} == schemes
    return made


def forecast_plan(plan: Plan, report: Report) -> Forecast | None:
    """What a proposed plan is expected to give; None where it asks for no size.

    Raises:
        TargetError: as `plan`.
    """
    target = _target(plan.target, report) if plan.target is not None else None
    if target is None:
        return None
    found = _resolved(plan, report)
    schemes = {f.name: found[f.name].scheme if f.name in found else Scheme() for f in report.stored}
    return forecast(report, schemes, target)


def comment_plan(plan: Plan, report: Report) -> str:
    """The plan as YAML with a comment for each rule: what it decides, and the bits foreseen."""
    text = dump_plan(plan)
    found = _resolved(plan, report)
    foreseen = forecast_plan(plan, report)
    lines, number = [], 0
    for line in text.splitlines():
        if line.startswith("- "):
            number += 1
            decided = [f for f in report.stored if f.name in found and found[f.name].rule == number]
            line = f"{line}  # {_told(decided, foreseen)}"
        lines.append(line)
    commented = "\n".join(lines) + "\n"
    # A name with a line break in it would be torn: then the plan stays bare.
    return commented if number == len(plan.rules) and read_plan(commented) == plan else text


def _told(decided: list[TensorFacts], foreseen: Forecast | None) -> str:
    values = sum(facts.parameters for facts in decided)
    told = f"{len(decided)} tensor{'' if len(decided) == 1 else 's'}, {values:,} values"
    if foreseen is not None and values:
        spent = sum(foreseen.bits[facts.name] * facts.parameters for facts in decided)
        told += f", {spent / values:.2f} bits"
    if any(facts.sensitivity is not None and not facts.sensitivity.step for facts in decided):
        told += "; some without effect on the calibrated output"
    return told


def _target(goal: Goal, report: Report) -> Target | None:
    """The size asked for; None where only the score is."""
    if goal.size is None and goal.bits is None:
        return None
    return parse_target(
        bits=goal.bits, size=goal.size, original=report.bytes, parameters=report.parameters
    )


def _resolved(plan: Plan, report: Report) -> dict[str, Resolved]:
    infos = [TensorInfo(f.name, f.dtype, f.shape, f.bytes) for f in report.tensors]
    found = resolve(plan, infos, {f.name: f.tied for f in report.tensors if f.tied})
    return {name: one for name, one in found.items() if one is not None}
