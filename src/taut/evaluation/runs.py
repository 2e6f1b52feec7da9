"""Speed, memory and energy of models that run one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taut.evaluation.contenders import Contender
from taut.networks import Calibration, run_batch
from taut.scoring.results import Subject

if TYPE_CHECKING:
    import torch

    Runs = Mapping[str, Callable[[], object]]  # a call of each side, by its number


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be measured; `watts` of a busy core stand in for a meter of energy."""

    speed: bool = False
    memory: bool = False
    energy: bool = False
    threads: int | None = None
    watts: float | None = None


def measured(
    wanted: Wanted, subjects: list[Subject], sides: Sequence[Contender], data: Calibration
) -> list[Subject]:
    """The subjects with speed, memory and energy of one batch."""
    import torch

    batch = next(iter(data))
    runs = {str(number): _call(side.module, batch) for number, side in enumerate(sides)}
    with torch.inference_mode():
        if wanted.speed:
            subjects = _with_speed(wanted, subjects, sides, runs, batch)
        if wanted.memory:
            subjects = _with_memory(subjects, sides, batch)
        if wanted.energy:
            subjects = _with_energy(wanted, subjects, runs)
    return subjects


def _call(module: torch.nn.Module, batch: object) -> Callable[[], object]:
    return lambda: run_batch(module, batch, "batch 1")


def _with_speed(
    wanted: Wanted,
    subjects: list[Subject],
    sides: Sequence[Contender],
    runs: Runs,
    batch: object,
) -> list[Subject]:
    import torch

    from taut.evaluation import speed
    from taut.networks.calls import samples_of

    name = f"PyTorch {torch.__version__}"
    took = speed.compare_speed(
        runs, samples=samples_of(batch), runtime=name, threads=wanted.threads
    )
    runtimes = [name if side.runtime == "PyTorch" else side.runtime for side in sides]
    return [
        replace(one, speed=replace(took[str(number)], runtime=runtime))
        for number, (one, runtime) in enumerate(zip(subjects, runtimes, strict=True))
    ]


def _with_memory(
    subjects: list[Subject], sides: Sequence[Contender], batch: object
) -> list[Subject]:
    from taut.evaluation.memory import measure_memory

    return [
        replace(one, memory=measure_memory(side.module, batch, file=side.path))
        if side.runtime == "PyTorch"
        else one
        for one, side in zip(subjects, sides, strict=True)
    ]


def _with_energy(wanted: Wanted, subjects: list[Subject], runs: Runs) -> list[Subject]:
    from taut.evaluation.energy import measure_energy

    return [
        replace(one, energy=measure_energy(runs[str(number)], watts=wanted.watts))
        for number, one in enumerate(subjects)
    ]
