"""The verb `evaluate`: what a model is worth, and what it lost against another."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.evaluation.contenders import Contender, open_sides
from taut.machine import checked_threads
from taut.networks import Calibration, CalibrationSpec, ModelSpec, open_calibration, run_batch
from taut.progress import Progress
from taut.scoring.extra import need_eval
from taut.scoring.metrics import left_out, score_outcome
from taut.scoring.outcome import Outcome
from taut.scoring.paired import compare_outcomes
from taut.scoring.results import Evaluation, Fidelity, Paired, Subject
from taut.scoring.user_score import ScoreFunction, judged

if TYPE_CHECKING:
    import torch

_SAME: Final = 1.1  # times as fast: less is noise
_REASONS: Final = 4
_SHAPE: Final = re.compile(r"\[.*?\]")

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    model: ModelSpec,
    score: ScoreFunction | None = None,
    *,
    against: ModelSpec | None = None,
    batches: CalibrationSpec | None = None,
    speed: bool = False,
    memory: bool = False,
    energy: bool = False,
    fidelity: bool | None = None,
    seed: int = 0,
    threads: int | None = None,
    watts: float | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge a model, and hold it against the one that it came from.

    `model` is an nn.Module, a model folder, `file.py:function`, or weights (a Taut file or
    folder, `.safetensors`, `.onnx`), whose network `against` is then. `score(model)` gives a
    number, or arrays as `read_outcome` takes them; both models are judged on copies. Speed,
    memory, energy and fidelity run the model on `batches`; fidelity is on where these and
    `against` are given. `watts` of a busy core make an estimate of energy where no meter is.

    Raises:
        ArgumentError: there is nothing to judge by, a model cannot be had, or `score` fails.
        FormatError, VerifyError: a file is damaged.
    """
    runs = speed or memory or energy or bool(fidelity)
    if batches is None and (score is None or runs):
        missing = "score (--eval) or batches (--data)" if not runs else "batches (--data)"
        raise ArgumentError(f"evaluate: give {missing}, to run the model on")
    if fidelity and against is None:
        raise ArgumentError("fidelity: give against (--against), the model to stay near to")
    if watts is not None and not watts > 0:
        raise ArgumentError(f"energy: watts {watts} must be more than 0")
    first, second, loaded = open_sides(model, against, threads and checked_threads(threads))
    sides = [side for side in (first, second) if side is not None]
    with _seeded(seed, threads):
        data = None if batches is None else open_calibration(batches, loaded)
        outcomes = _outcomes(score, sides, seed, progress)
        subjects = [_subject(side) for side in sides]
        notes: list[str] = []
        if outcomes:
            subjects = [
                replace(subject, scores=score_outcome(outcome, seed=seed))
                for subject, outcome in zip(subjects, outcomes, strict=True)
            ]
            notes += left_out(outcomes[0])
        paired: tuple[Paired, ...] = ()
        if len(outcomes) == 2:
            paired = compare_outcomes(outcomes[0], outcomes[1], seed=seed)
        near: Fidelity | None = None
        if data is not None:
            subjects = _measured(subjects, sides, data, speed, memory, energy, threads, watts)
            if second is not None and fidelity is not False:
                near = _fidelity(first, second, data, progress)
                notes += _unfollowed(first, second, near)
    if data is not None and memory and any(side.runtime != "PyTorch" for side in sides):
        notes.append("memory: what onnxruntime takes is not seen, so it is not told")
    if words := _faster(subjects, first.decode_seconds is not None):
        notes.append(words)
    return Evaluation(
        subjects[0], subjects[1] if second else None, paired, near, tuple(notes),
        _provenance(sides, seed, threads, data),
    )  # fmt: skip


def _outcomes(
    score: ScoreFunction | None, sides: list[Contender], seed: int, progress: Progress | None
) -> list[Outcome]:
    if score is None:
        return []
    import torch

    found = []
    for number, side in enumerate(sides, 1):
        torch.manual_seed(seed)  # a score that draws samples is to draw the same of both
        found.append(judged(score, side.module, "score", copied=side.copied))
        if found[-1].samples is not None:
            need_eval("sklearn")  # before the second model is judged in vain
        if progress:
            progress("score", number, len(sides))
    return found


def _fidelity(
    first: Contender, second: Contender, data: Calibration, progress: Progress | None
) -> Fidelity:
    from taut.evaluation.fidelity import compare_models

    near, left_out = compare_models(first.module, second.module, data, progress=progress)
    if "onnxruntime" in (first.runtime, second.runtime):
        return replace(near, layers=())
    return replace(near, left_out=left_out)


def _unfollowed(first: Contender, second: Contender, near: Fidelity) -> list[str]:
    """Which layers fidelity does not tell of, and why."""
    if "onnxruntime" in (first.runtime, second.runtime):
        return ["outputs alone are compared: onnxruntime shows no layers of a graph"]
    whys: dict[str, list[str]] = {}
    for name, why in near.left_out.items():
        whys.setdefault(_SHAPE.sub("[]", why), []).append(name)
    told = [f"{len(names)}, as {names[0]} ({near.left_out[names[0]]})" for names in whys.values()]
    return [f"layers not compared: {'; '.join(told[:_REASONS])}"] if told else []


def _subject(side: Contender) -> Subject:
    return Subject(
        side.name, side.size, side.parameters,
        load_seconds=side.load_seconds, decode_seconds=side.decode_seconds,
    )  # fmt: skip


def _measured(
    subjects: list[Subject],
    sides: list[Contender],
    data: Calibration,
    speed: bool,
    memory: bool,
    energy: bool,
    threads: int | None,
    watts: float | None,
) -> list[Subject]:
    """The subjects with speed, memory and energy of one batch."""
    import torch

    from taut.evaluation.energy import measure_energy
    from taut.evaluation.memory import measure_memory
    from taut.evaluation.speed import compare_speed
    from taut.networks.calls import samples_of

    batch = next(iter(data))
    runs = {str(n): _call(side.module, batch) for n, side in enumerate(sides)}
    with torch.inference_mode():
        if speed:
            name = f"PyTorch {torch.__version__}"
            took = compare_speed(runs, samples=samples_of(batch), runtime=name, threads=threads)
            subjects = [
                replace(one, speed=replace(took[str(n)], runtime=name if side.runtime == "PyTorch"
                                           else side.runtime))
                for n, (one, side) in enumerate(zip(subjects, sides, strict=True))
            ]  # fmt: skip
        if memory:
            subjects = [
                replace(one, memory=measure_memory(side.module, batch, file=side.path))
                if side.runtime == "PyTorch"
                else one
                for one, side in zip(subjects, sides, strict=True)
            ]
        if energy:
            subjects = [
                replace(one, energy=measure_energy(runs[str(n)], watts=watts))
                for n, one in enumerate(subjects)
            ]
    return subjects


def _call(module: torch.nn.Module, batch: object) -> Callable[[], object]:
    return lambda: run_batch(module, batch, "batch 1")


def _faster(subjects: list[Subject], decoded: bool) -> str:
    """Whether the model also runs faster: as it was measured, or as it is by nature."""
    new, old = subjects[0], subjects[-1]
    if len(subjects) == 2 and new.speed and old.speed:
        times = old.speed.p50 / new.speed.p50
        faster = f"a call is {times:.2f}x as fast as the original's"
        return f"smaller, not faster: {faster}" if decoded and times < _SAME else faster
    if not decoded:
        return ""
    if len(subjects) == 2 and (new.parameters or 0) < (old.parameters or 0):
        return "fewer parameters: smaller, and less to compute; --speed measures what that wins"
    return "smaller, not faster: tensors come back as floats; an export makes it run faster"


def _provenance(
    sides: list[Contender], seed: int, threads: int | None, data: Calibration | None
) -> dict[str, str]:
    import torch

    from taut.version import __version__

    found = {
        "taut": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cpu": _processor(),
        "cores": str(checked_threads(None)),
        "threads": str(threads or torch.get_num_threads()),
        "seed": str(seed),
    }
    for word, side in zip(("model", "against"), sides, strict=False):
        found |= {word: side.name, f"{word}_xxh3": side.digest}
    return (
        found if data is None else {**found, "data": Path(data.name).name, "data_xxh3": data.digest}
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@contextmanager
def _seeded(seed: int, threads: int | None) -> Iterator[None]:
    """Torch with so many threads and its own random numbers; both are as before afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(checked_threads(threads))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
