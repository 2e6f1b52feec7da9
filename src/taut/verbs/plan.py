"""The verb `plan`: from a report and what is asked of the file to rules that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taut.analysis.tensor_facts import Report, TensorFacts
from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.planning import Plan, Resolved, dump_plan, parse_target, resolve
from taut.planning.collapse import collapse
from taut.planning.plan import read_plan
from taut.planning.propose import Forecast, choose_schemes, forecast
from taut.planning.target import read_bits, read_size
from taut.verbs.analyze import analyze

if TYPE_CHECKING:
    from taut.coding import Effort
    from taut.networks import CalibrationSpec
    from taut.networks.outputs import Loss
    from taut.networks.sources import Model
    from taut.progress import Shown

__all__ = ["Forecast", "Plan", "Proposal", "plan", "propose"]


@dataclass(frozen=True)
class Proposal:
    """A plan, the report that it was made from, and what it is expected to give.

    `forecast` is None where no size was asked for.
    """

    plan: Plan
    report: Report
    forecast: Forecast | None

    def __repr__(self) -> str:
        """In three lines at most."""
        foreseen = "" if self.forecast is None else f", {self.forecast.nbytes:,} bytes foreseen"
        rules = f"{len(self.plan.rules)} rule{'' if len(self.plan.rules) == 1 else 's'}"
        return f"{self.report.model}: {rules}{foreseen}"

    def text(self) -> str:
        """The plan as YAML with a comment for each rule: what it decides, and the bits foreseen."""
        bare = dump_plan(self.plan)
        found = _resolved(self.plan, self.report)
        lines, number = [], 0
        for line in bare.splitlines():
            if line.startswith("- "):
                number += 1
                decided = [f for f in self.report.stored if found[f.name].rule == number]
                line = f"{line}  # {_told(decided, self.forecast)}"
            lines.append(line)
        text = "\n".join(lines) + "\n"
        # A name with a line break in it would be torn: then the plan stays bare.
        whole = number == len(self.plan.rules) and read_plan(text) == self.plan
        return text if whole else bare


def plan(
    report: Report | Model,
    calib: CalibrationSpec | None = None,
    *,
    size: str | int | None = None,
    ratio: float | str | None = None,
    bits: float | str | None = None,
    max_drop: str | float | None = None,
    loss: Loss | None = None,
    effort: Effort | None = None,
    seed: int | None = None,
    finish: bool | None = None,
    threads: int | None = None,
    key: str | None = None,
    strict: bool = False,
    progress: Shown = True,
) -> Plan:
    """Propose a plan that meets a target: which tensor is to be stored how.

    `report` is what `analyze` gave, or a model, which is then analysed with `calib`. `size` is a
    ratio ("12x", or `ratio` 12), "12%", "4.2MB" or bytes, `bits` are per parameter of the whole
    model, `max_drop` is what the score may lose ("0.5%", or a number). What is lost goes to float
    matrices, by one dial; `effort`, `seed` and `finish` are passed on in the plan. `key` and
    `strict` are as in `compress`.

    Raises:
        ArgumentError: nothing is asked for, or what is asked for means nothing.
        TargetError: the size cannot be met; `best` is the least size foreseen, in bytes.

    >>> import numpy as np
    >>> model = {f"h.{i}.w": np.random.default_rng(i).normal(size=(64, 64)) for i in (0, 1)}
    >>> print(dump_plan(plan(model, bits=4)), end="")
    taut: 1
    target: {bits: 4}
    rules:
    - {match: '*', scheme: rd}
    """
    return propose(
        report, calib, size=size, ratio=ratio, bits=bits, max_drop=max_drop, loss=loss,
        effort=effort, seed=seed, finish=finish, threads=threads, key=key, strict=strict,
        progress=progress,
    ).plan  # fmt: skip


def propose(
    report: Report | Model,
    calib: CalibrationSpec | None = None,
    *,
    size: str | int | None = None,
    ratio: float | str | None = None,
    bits: float | str | None = None,
    max_drop: str | float | None = None,
    loss: Loss | None = None,
    effort: Effort | None = None,
    seed: int | None = None,
    finish: bool | None = None,
    threads: int | None = None,
    key: str | None = None,
    strict: bool = False,
    progress: Shown = True,
) -> Proposal:
    """The plan that `plan` gives, with what it was made from; arguments and errors are the same."""
    bits, size = read_bits(bits), read_size(size, ratio)
    if (size, bits, max_drop) == (None, None, None):
        raise ArgumentError("plan: give size, bits or max_drop: what is asked of the file")
    asked = Plan.model_validate(
        {
            "target": {"size": size, "bits": bits, "max_drop": max_drop},
            "effort": effort,
            "seed": seed,
            "finish": finish,
        }
    )
    if not isinstance(report, Report):
        report = analyze(
            report,
            calib,
            loss=loss,
            threads=threads,
            seed=seed or 0,
            key=key,
            strict=strict,
            progress=progress,
        )
    elif any(one is not None for one in (calib, loss, key)):
        raise ArgumentError("calib, loss, key: are for a model; the report was made with its own")
    target = None
    if size is not None or bits is not None:
        target = parse_target(
            bits=bits, size=size, original=report.bytes, parameters=report.parameters
        )
    schemes = choose_schemes(report, target)
    foreseen = None if target is None else forecast(report, schemes, target)
    made = asked.model_copy(update={"rules": collapse(schemes)})
    assert {name: one.scheme for name, one in _resolved(made, report).items()} == schemes
    return Proposal(made, report, foreseen)


def _told(decided: list[TensorFacts], foreseen: Forecast | None) -> str:
    values = sum(facts.parameters for facts in decided)
    told = f"{_counted(len(decided), 'tensor')}, {_counted(values, 'value')}"
    if foreseen is not None and values:
        spent = sum(foreseen.bits[facts.name] * facts.parameters for facts in decided)
        told += f", {spent / values:.2f} bits"
    if any(facts.sensitivity is not None and not facts.sensitivity.step for facts in decided):
        told += "; some without effect on the calibrated output"
    return told


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _resolved(plan: Plan, report: Report) -> dict[str, Resolved]:
    infos = [TensorInfo(f.name, f.dtype, f.shape, f.bytes) for f in report.tensors]
    found = resolve(plan, infos, {f.name: f.tied for f in report.tensors if f.tied})
    return {name: one for name, one in found.items() if one is not None}
