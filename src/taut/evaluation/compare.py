"""What a model is worth, and what it lost against another, step after step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from taut.errors import ArgumentError
from taut.evaluation.contenders import Contender, open_sides
from taut.evaluation.provenance import provenance
from taut.evaluation.remarks import faster, unfollowed, unseen_memory
from taut.evaluation.runs import Wanted, measured
from taut.machine import checked_threads
from taut.networks import (
    Calibration,
    CalibrationSpec,
    LoadedModel,
    ModelSpec,
    open_calibration,
)
from taut.networks.precision import AS_IT_IS, restore
from taut.progress import Progress
from taut.scoring.extra import need_eval
from taut.scoring.metrics import left_out, score_outcome
from taut.scoring.outcome import Outcome
from taut.scoring.paired import compare_outcomes
from taut.scoring.results import Evaluation, Fidelity, Subject
from taut.scoring.user_score import ScoreFunction, judged


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """A model to judge and another to hold it against, as the verb `evaluate` takes them."""

    model: ModelSpec
    score: ScoreFunction | None = None
    original: ModelSpec | None = None
    calib: CalibrationSpec | None = None
    speed: bool = False
    memory: bool = False
    energy: bool = False
    fidelity: bool | None = None
    seed: int = 0
    threads: int | None = None
    watts: float | None = None
    progress: Progress | None = None


def compare(request: CompareRequest) -> Evaluation:
    """Judge a model, and hold it against the one that it came from.

    Raises:
        ArgumentError: there is nothing to judge by, a model cannot be had, or the score fails.
        FormatError, VerifyError: a file is damaged.
    """
    _check(request)
    seed, threads = request.seed, request.threads
    first, second, loaded = open_sides(
        request.model, request.original, threads and checked_threads(threads)
    )
    sides = [side for side in (first, second) if side is not None]
    with _seeded(seed, threads):
        data = None if request.calib is None else _data(request, loaded, sides)
        outcomes = _outcomes(request, sides)
        subjects = _subjects(sides, outcomes, seed)
        paired = compare_outcomes(*outcomes, seed=seed) if len(outcomes) == 2 else ()
        if data is not None:
            subjects = measured(_wanted(request), subjects, sides, data)
        near = _near(request, sides, data)
    return Evaluation(
        subjects[0],
        subjects[1] if second else None,
        paired,
        near,
        (
            *_notes(outcomes, sides, near),
            *(data.notes if data else ()),
            *_runtime_notes(request, subjects, sides),
        ),
        provenance(sides, seed, threads, data),
    )


def _check(request: CompareRequest) -> None:
    """Whether there is what is needed to judge; raises ArgumentError if not."""
    runs = any((request.speed, request.memory, request.energy, request.fidelity))
    if request.calib is None and (runs or request.score is None):
        missing = "calib (--calib)" if runs else "score (--score) or calib (--calib)"
        weights = "" if request.original is None else "; diff compares the weights alone"
        raise ArgumentError(f"evaluate: give {missing}, to run the model on{weights}")
    if request.fidelity and request.original is None:
        raise ArgumentError("fidelity: give original (--original), the model to stay near to")
    if request.watts is not None and not request.watts > 0:
        raise ArgumentError(f"energy: watts {request.watts} must be more than 0")


def _data(request: CompareRequest, loaded: LoadedModel, sides: list[Contender]) -> Calibration:
    """The samples to run on; models that they fit in their own precision alone go back to it."""
    assert request.calib is not None
    data = open_calibration(request.calib, loaded, progress=request.progress)
    if AS_IT_IS in data.notes:
        for side in sides:
            restore(side.module)
    return data


def _wanted(request: CompareRequest) -> Wanted:
    return Wanted(
        speed=request.speed,
        memory=request.memory,
        energy=request.energy,
        threads=request.threads,
        watts=request.watts,
    )


def _outcomes(request: CompareRequest, sides: list[Contender]) -> list[Outcome]:
    """What the user's score gives of each model, if there is one."""
    if request.score is None:
        return []
    import torch

    found = []
    for number, side in enumerate(sides, 1):
        torch.manual_seed(request.seed)  # a score that draws samples is to draw the same of both
        found.append(judged(request.score, side.module, "score", copied=side.copied))
        if found[-1].samples is not None:
            need_eval("sklearn")  # before the second model is judged in vain
        if request.progress:
            request.progress("score", number, len(sides))
    return found


def _subjects(sides: list[Contender], outcomes: list[Outcome], seed: int) -> list[Subject]:
    """What is known of each model before it is run for speed, with its scores, if there are any."""
    subjects = [_subject(side) for side in sides]
    if not outcomes:
        return subjects
    return [
        replace(subject, scores=score_outcome(outcome, seed=seed))
        for subject, outcome in zip(subjects, outcomes, strict=True)
    ]


def _subject(side: Contender) -> Subject:
    return Subject(
        side.name, side.size, side.parameters,
        load_seconds=side.load_seconds, decode_seconds=side.decode_seconds,
    )  # fmt: skip


def _near(
    request: CompareRequest, sides: list[Contender], data: Calibration | None
) -> Fidelity | None:
    """How near the two models' outputs and layers are, where that is asked for and can be told."""
    from taut.evaluation.fidelity import compare_models

    if data is None or len(sides) < 2 or request.fidelity is False:
        return None
    first, second = sides
    near, left_out = compare_models(first.module, second.module, data, progress=request.progress)
    if "onnxruntime" in (first.runtime, second.runtime):
        return replace(near, layers=())
    return replace(near, left_out=left_out)


def _notes(outcomes: list[Outcome], sides: list[Contender], near: Fidelity | None) -> list[str]:
    """What scores and fidelity do not tell of."""
    notes = list(left_out(outcomes[0])) if outcomes else []
    return notes if near is None else notes + unfollowed(sides, near)


def _runtime_notes(
    request: CompareRequest, subjects: list[Subject], sides: list[Contender]
) -> list[str]:
    """What is to be said of memory and speed."""
    notes = unseen_memory(sides) if request.memory else []
    words = faster(subjects, sides[0].decode_seconds is not None)
    return [*notes, words] if words else notes


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
