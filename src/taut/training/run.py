"""A compression with training, from a network and a target to what is to be written.

Where a size is asked for the network is trained once, towards it. Where only a score is, it is
trained in stages, each two thirds of the size before, as long as the score holds; the stages go on
from one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch

from taut.calibration import Try
from taut.calibration.request import Ready
from taut.container import Origin
from taut.encoding.model import predict_size
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.networks import LoadedModel
from taut.networks.calls import explained
from taut.networks.copies import copy_module
from taut.progress import Progress, report_bytes
from taut.scheme import Scheme
from taut.scoring.user_score import scored
from taut.training.activations import plain_inputs, round_inputs
from taut.training.budget import Budget
from taut.training.distill import Lesson, Teacher, evaluating
from taut.training.first_batch import check_single
from taut.training.kept import STAGES, discard_kept, stage_file
from taut.training.learnt_steps import LearntSteps
from taut.training.loop import Fit
from taut.training.objective import Objective
from taut.training.reachable import unreachable
from taut.training.request import TrainRequest
from taut.training.schemes import student_schemes, tensor_masks
from taut.training.sparsify import Sparsifier
from taut.training.student import Student, make_student
from taut.training.written import Final as FinalState
from taut.training.written import final_state

_FIRST: Final = 16.0  # the ratio that the first stage towards a score tries
_STAGE: Final = 1.5  # times the ratio from stage to stage
_ABOVE: Final = 1.15  # times the size asked for: where a training begins at least
_THERE: Final = 1.05  # times the size asked for: near enough to go on from
_REFINEMENTS, _REFINED = 20, 1.4  # times finer steps at a time
_TRIMS: Final = (0.52, 0.54, 0.56, 0.58, 0.6)
_COARSER: Final = (1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 2.5, 3.0, 4.0)


class TrainedRun:
    """One training of `model` (a copy of it), whose tensors in `source` have `schemes`."""

    def __init__(
        self,
        source: Source,
        schemes: dict[str, Scheme],
        model: LoadedModel,
        request: TrainRequest,
        origin: Origin,
        progress: Progress | None = None,
    ) -> None:
        self.source, self.schemes, self.model = source, schemes, model
        self.request, self.origin, self.progress = request, origin, progress
        self.notes: list[str] = []
        check_single(model.module, request.fit)
        own = request.teacher
        self.teacher = own_teacher(model.module if own is None else own)
        self.dial = request.target is not None or request.allowed is not None

    def ready(self) -> Ready:
        """Train, and give what is to be written.

        Raises:
            ArgumentError: the loop fails, or never asks for the loss.
            TargetError: the size or the score is not reached.
        """
        kept = self.request.checkpoint
        if kept is not None and not self.request.resume:
            discard_kept(kept)
        try:
            return self._reached()
        except TargetError:
            if kept is not None:
                discard_kept(kept)
            raise

    def _reached(self) -> Ready:
        request = self.request
        before = None
        self._check_trains()
        self._check_reachable()
        if request.score is not None:
            before = scored(request.score, self.model.module)
        with _seeded(request.seed):
            student = self._student(self.model.module)
            if request.target is None and request.allowed is not None:
                assert before is not None
                return self._in_stages(student, before)
            state = self._trained(student, request.target.nbytes if request.target else None)
        state = self._fitting(state, student)
        score = self._score(state)
        if request.allowed is not None and before is not None and score is not None:
            least = request.allowed.least(before)
            if score < least:
                raise TargetError(
                    f"max_drop: at {state.size:,} bytes the score is {score:.6g} after training, "
                    f"{before:.6g} before; {least:.6g} was asked for: train longer, or allow more "
                    "bytes"
                )
        return self._ready(state, before, score, ())

    def _check_trains(self) -> None:
        """Refuse a model of which no parameter is to be trained."""
        if not any(one.requires_grad for one in self.model.module.parameters()):
            raise ArgumentError(
                "train: requires_grad is False for every parameter of the model, so that nothing "
                "is to be trained; call model.requires_grad_(True), or on what is"
            )

    def _student(self, module: torch.nn.Module) -> Student:
        student = make_student(
            copy_module(module),
            student_schemes(self.schemes, self.model.names, module, dial=self.dial),
        )
        return student

    def _trained(self, student: Student, nbytes: int | None, stage: int = 0) -> FinalState:
        """Train towards a size, or towards the schemes alone; `stage` counts trainings."""
        training = self.request.training
        budget = None
        if nbytes is not None and training.bits:
            budget = Budget(8.0 * nbytes, training.ramp)
        masks = tensor_masks(self.schemes, self.model.names, student, training)
        sparsifier = Sparsifier(student, masks) if masks else None
        lesson = None
        if training.distill is not None:
            lesson = Lesson(student.module, self.teacher, training.distill)
        objective = Objective(student, training, lesson, budget, sparsifier)
        objective.measure = lambda: 8.0 * self._size(self._state(student), once=False)
        if budget is not None:
            self._begin_above(student, budget.target)
        rounded = round_inputs(student.module) if training.activations else []
        with evaluating(self.teacher):
            try:
                self._run_loop(student.module, objective, stage)
            finally:
                objective.close()
                plain_inputs(rounded)
        if not objective.calls:
            raise ArgumentError(
                "train: the loop ended without asking for the loss; call loss(task) for each "
                "batch, and its backward()"
            )
        if note := objective.finish():
            self.notes.append(note)
        self.notes += student.notes + objective.untaught()
        student.module.eval()
        return self._state(student)

    def _begin_above(self, student: Student, target: float) -> None:
        """Refine the steps until more bits are spent than asked for: bits only ever draw down."""
        learnt = [twin.quant for twin in student.twins if isinstance(twin.quant, LearntSteps)]
        spent = 8.0 * self._size(self._state(student), once=False)
        if not learnt or (any(one.on_grid for one in learnt) and spent <= _THERE * target):
            return  # it was trained to be small before, and goes on from there
        for _ in range(_REFINEMENTS):
            if 8.0 * self._size(self._state(student), once=False) > _ABOVE * target:
                return
            _refine(learnt)

    def _run_loop(self, module: torch.nn.Module, objective: Objective, stage: int) -> None:
        fit, request = self.request.fit, self.request
        if isinstance(fit, Fit):
            kept = None if request.checkpoint is None else stage_file(request.checkpoint, stage)
            fit.within(kept, request.resume, self.progress)(module, objective)
            return
        with explained("train: the loop failed"):
            fit(module, objective)

    def _state(self, student: Student) -> FinalState:
        return final_state(student, self.source, self.schemes, self.model.names)

    def _size(self, state: FinalState, *, once: bool = True) -> int:
        """The file's bytes; not `once` as long as layers that are equal may come to differ."""
        request = self.request
        return predict_size(
            state.source,
            state.schemes,
            effort=request.effort,
            threads=request.threads,
            quantize=state.written,
            origin=self.origin,
            once=once,
        )

    def _fitting(self, state: FinalState, student: Student) -> FinalState:
        """The state with its size, which meets the target: what is near zero anyway becomes zero.

        Raises:
            TargetError: it does not get so small.
        """
        target = self.request.target
        state.size = self._size(state)
        if target is None or state.size <= target.nbytes:
            return state
        first = state.size
        for said, made in _smaller(state):
            made.size = self._size(made)
            if made.size <= target.nbytes:
                self.notes.append(f"training ended at {first:,} bytes; {said} for the rest")
                return made
        why = self._unreachable(state, student, target.nbytes, taught=True)
        raise TargetError(
            f"size: training ended at {first:,} bytes, {target.told:,} were asked for; "
            f"{why or 'train longer, or ask for more'}"
        )

    def _unreachable(
        self, state: FinalState, student: Student, nbytes: int, *, taught: bool
    ) -> str | None:
        """Why no longer training makes the file so small; None if one may.

        `taught` is whether training has shown what gradients come to.
        """
        if not self.request.training.bits:
            return "with bits: false training does not mind the size: ask for more, or leave it out"
        priced = [one for one in student.twins if isinstance(one.quant, LearntSteps)]
        reached = {
            name: one.quant.reached.cpu().numpy() | (not taught)
            for one in priced
            for name in one.names
        }
        parts = {t: reached[name] for t, name in self.model.names.items() if name in reached}
        return unreachable(state, nbytes, parts, self._size, self.request.effort)

    def _check_reachable(self) -> None:
        """Refuse, before anything is judged or trained, a size that no training reaches."""
        target = self.request.target
        if target is None or not self.request.training.bits:
            return
        with _seeded(self.request.seed):
            student = self._student(self.model.module)
        why = self._unreachable(self._state(student), student, target.nbytes, taught=False)
        if why is not None:
            raise TargetError(f"size: {target.told:,} bytes were asked for; {why}")

    def _in_stages(self, student: Student, before: float) -> Ready:
        """The smallest file whose score holds."""
        allowed = self.request.allowed
        assert allowed is not None
        least, ratio = allowed.least(before), _FIRST
        best: tuple[FinalState, float] | None = None
        tries: list[Try] = []
        while len(tries) < STAGES:
            state = self._trained(student, int(self.source.nbytes / ratio), len(tries))
            state.size = self._size(state)
            score = self._score(state)
            assert score is not None
            tries.append(Try(ratio, score))
            if self.progress:
                report_bytes(self.progress, state.size)
                self.progress(f"score {score:.6g}", len(tries), STAGES)
            if score >= least:
                best, ratio = (state, score), ratio * _STAGE
            elif best is not None or ratio <= 2:
                break
            else:
                ratio /= _STAGE**2
                student = self._student(self.model.module)
        if best is None:
            raise TargetError(
                f"max_drop: the score fell below {least:.6g} at every size tried, down to a ratio "
                f"of {ratio:.3g}; train longer, or allow more"
            )
        return self._ready(best[0], before, best[1], tuple(tries))

    def _score(self, state: FinalState) -> float | None:
        """The score of what a reader of the file gets."""
        if self.request.score is None:
            return None
        return scored(self.request.score, state.network(self.model))

    def _ready(
        self, state: FinalState, before: float | None, score: float | None, tries: tuple[Try, ...]
    ) -> Ready:
        self.notes += state.notes
        return Ready(
            source=state.source,
            quantize=state.written,
            size=state.size,
            tries=tries,
            original_score=before,
            score=score,
            notes=tuple(dict.fromkeys(self.notes)),
            schemes=state.schemes,
            of_rows=False,
        )


def own_teacher(teacher: Teacher) -> Teacher:
    """A copy of a teacher that is a network, with the same memory for its parameters.

    Running a network changes it (what it keeps on itself, counters in buffers), and it is the
    caller's. Functions are taken as they are.

    Raises:
        ArgumentError: the network cannot be copied.
    """
    if not isinstance(teacher, torch.nn.Module):
        return teacher
    try:
        found = copy_module(teacher)
    except ArgumentError as error:
        raise ArgumentError(
            f"teacher: {error}; or give a function that calls it: lambda *batch: net(*batch)"
        ) from error
    for mine, its in zip(found.parameters(), teacher.parameters(), strict=True):
        mine.data = its.data
    return found


@torch.no_grad()
def _refine(learnt: Iterable[LearntSteps]) -> None:
    """Make the steps finer, of grids that have no end."""
    for one in learnt:
        if one.most is None:
            one.log_step.sub_(math.log(_REFINED))


def _smaller(state: FinalState) -> Iterator[tuple[str, FinalState]]:
    """States of less and less bytes, and what was done to them."""
    for threshold in _TRIMS:
        yield f"indices below {threshold:g} steps were made zero", state.trimmed(threshold)
    for factor in _COARSER:
        yield f"steps were made {factor:g} times larger", state.coarsened(factor)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed; afterwards as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        np_state = np.random.get_state()
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(np_state)
