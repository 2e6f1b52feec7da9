"""The built-in loop: a network, a loss and batches in; the network is trained in place.

It is what a user would write, with what long work wants: accumulation, mixed precision where there
is a GPU, a checkpoint after every epoch, an early stop, several processes (accelerate). No pickle:
a checkpoint is an .npz of plain arrays.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.io.names import some_names
from taut.networks.calls import explained, fitted, outline, run
from taut.progress import Progress, report_bytes
from taut.training.activations import InputStep
from taut.training.batch_parts import left_out, parts_of
from taut.training.checkpoint import LoopPosition, read_checkpoint, write_checkpoint
from taut.training.epochs import Batches, counted, held, passed
from taut.training.learnt_steps import LearntSteps
from taut.training.task import TaskLoss
from taut.transform.settings import Training

if TYPE_CHECKING:
    from taut.training.objective import Objective

Task = Callable[[object, object], Tensor]

_LR: Final = {"adamw": 1e-3, "sgd": 1e-2}
_STEP_LR: Final = 5e-3  # of the logarithms of steps, which are of no scale


@dataclass(frozen=True)
class Fit:
    """Trains a network over `batches`: an iterable, or a function that gives one for each epoch.

    A batch is (input, target), or a dict that the network takes (its output then has `.loss`, or
    "labels" are among it), or the input alone, where there is a teacher (`parts_of` says it all).
    `loss(output, target)` takes the place of `task_loss`. The batches of an iterator are held in
    memory. `checkpoint` is where to keep what a crash would cost; with `resume` it is gone on from.
    """

    batches: Batches
    training: Training = field(default_factory=Training)
    loss: Task | None = None
    checkpoint: Path | None = None
    resume: bool = False
    progress: Progress | None = None

    def within(self, checkpoint: Path | None, resume: bool, progress: Progress | None) -> Fit:
        """The same, with these where it has none of its own."""
        return replace(
            self,
            checkpoint=self.checkpoint or checkpoint,
            resume=self.resume or resume,
            progress=self.progress or progress,
        )

    def __post_init__(self) -> None:
        """Hold the batches of an iterator, which gives them once."""
        object.__setattr__(self, "batches", held(self.batches))

    def __call__(self, model: nn.Module, loss: Objective) -> None:
        """Train in place; `loss` is Taut's.

        Raises:
            ArgumentError: the batches do not fit the network, or the loss is no longer finite: the
                message says at which step, and where the last good checkpoint is.
        """
        _Loop(self, model, loss).run()


class _Loop:
    """One training: the optimisers, where it is, and the best it had."""

    def __init__(self, fit: Fit, model: nn.Module, loss: Objective) -> None:
        self.fit, self.model, self.loss, self.training = fit, model, loss, fit.training
        self.world = _world(fit.training)
        self.length = self._count()
        self.steps = self.training.epochs * math.ceil(self.length / self.training.accumulate)
        loss.total = self.training.epochs * self.length
        self.optimizers = self._optimizers()
        self.rates = [group["lr"] for one in self.optimizers for group in one.param_groups]
        self.runner = self.world.prepare(model)
        self.by_target = TaskLoss()
        self.epoch = self.step = 0
        self.best, self.since = math.inf, 0

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the weights, and one for the steps of their grids, if they have any."""
        learnt = [one for one in self.model.modules() if isinstance(one, (LearntSteps, InputStep))]
        steps = list({id(one.log_step): one.log_step for one in learnt}.values())
        mine = {id(p) for p in steps}
        weights = [p for p in self.model.parameters() if id(p) not in mine and p.requires_grad]
        rate = self.training.lr or _LR[self.training.optimizer]
        own = [torch.optim.Adam(steps, lr=_STEP_LR)] if steps else []
        return [self._optimizer(weights, rate), *own]

    def _optimizer(self, weights: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        decay = self.training.weight_decay
        if self.training.optimizer == "adamw":
            return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
        momentum = self.training.momentum
        return torch.optim.SGD(
            weights, lr=rate, momentum=momentum, weight_decay=decay, nesterov=momentum > 0
        )

    def _count(self) -> int:
        """Batches in an epoch of this process."""
        number = counted(self.fit.batches)
        return math.ceil(number / self.world.size) if self.world.size > 1 else number

    def run(self) -> None:
        if self.fit.resume and self.fit.checkpoint is not None and self.fit.checkpoint.exists():
            self.restore()
        with explained("train: model.train() failed"):
            self.model.train()
        for epoch in range(self.epoch, self.training.epochs):
            if self.out_of_patience():
                break
            self.loss.renew()
            mean = self.pass_over()
            self.epoch = epoch + 1
            self.note(mean)
            if self.fit.checkpoint is not None and self.world.first:
                self.keep()
        self.model.eval()

    def pass_over(self) -> float:
        """One epoch; gives the mean loss."""
        total = 0.0
        seen = 0
        for number, batch in enumerate(self.world.share(passed(self.fit.batches))):
            if seen == self.length:
                break
            value = self.batch(batch)
            total, seen = total + value, seen + 1
            if seen % self.training.accumulate == 0 or seen == self.length:
                self.advance()
            if self.fit.progress is not None:
                done = self.epoch * self.length + number + 1
                self._tell_bytes()
                self.fit.progress(self._said(total / seen), done, self.loss.total)
        if seen % self.training.accumulate and seen < self.length:  # an epoch shorter than others
            self.advance()
        if not seen:
            raise ArgumentError(
                "train: the batches are used up after one epoch, or have no samples in them; give "
                "a list, or a function that gives them anew"
            )
        return total / seen

    def _said(self, mean: float) -> str:
        """What a bar shows: the loss, and the size it has come to."""
        budget = self.loss.budget
        size = "" if budget is None else f", {(budget.spent + budget.other) / 8e3:.3g} kB"
        return f"train loss {mean:.4g}{size}"

    def _tell_bytes(self) -> None:
        """Tell the bytes that the file would have now, and those that it may have."""
        budget = self.loss.budget
        if budget is not None:
            now, most = (budget.spent + budget.other) / 8, budget.target / 8
            report_bytes(self.fit.progress, round(now), round(most))

    def batch(self, batch: object) -> float:
        """Forward and backward; gives the loss."""
        where = f"train: batch {self.loss.calls % self.length + 1}"
        given, target = parts_of(batch, self.model)
        if unused := left_out(batch, given, target):
            self.note_once(
                f"train: {some_names(unused)} of each batch: not taken by the network, left out"
            )
        given = fitted(given, self.model)
        with self.world.precision():
            output = run(self.runner, given, where)
            task = self.task(output, fitted(target, self.model), where)
        try:
            loss = self.loss(task)
            self._backward(loss / self.training.accumulate, batch, where)
        except ArgumentError as error:
            raise ArgumentError(f"{error}{self._last_good()}") from None
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ArgumentError(
                f"train: the loss is {value} at step {self.step + 1}; a lower lr or a clip "
                f"helps{self._last_good()}"
            )
        return value

    def _backward(self, loss: Tensor, batch: object, where: str) -> None:
        if not loss.requires_grad:
            raise ArgumentError(
                f"{where}: the loss has no gradient to any parameter of the model; its forward "
                "must not run under torch.no_grad() or detach what it gives"
            )
        with explained(f"{where}: the backward pass failed", batch):
            self.world.backward(loss)

    def _last_good(self) -> str:
        kept = self.fit.checkpoint
        return f"; the last good state is in {kept}" if kept and kept.exists() else ""

    def task(self, output: object, target: object, where: str) -> Tensor | None:
        """The task's loss of a batch, the caller's or by the targets; None where there is none."""
        if self.fit.loss is not None:
            with explained(f"{where}: loss failed", (output, target)):
                given: object = self.fit.loss(output, target)
            if not isinstance(given, Tensor) or given.numel() != 1:
                raise ArgumentError(
                    f"{where}: loss gave {outline(given)}; it must give a tensor of one number"
                )
            return given
        with explained(f"{where}: the loss cannot be taken", (output, target)):
            task = self.by_target(output, target, where)
        if task is None and target is not None:
            self.note_once(
                f"train: targets are a {type(target).__name__}, so that only the teacher is learnt "
                "from; give a loss of your own"
            )
        if self.by_target.axis is not None:
            self.loss.classes_on(self.by_target.axis)
        self.note_once(self.by_target.said)
        return task

    def note_once(self, note: str | None) -> None:
        notes = self.loss.student.notes
        if note is not None and note not in notes:
            notes.append(note)

    def advance(self) -> None:
        """One step of the optimisers, at the rate of the schedule."""
        part = self.step / max(1, self.steps)
        warm = self.training.warmup
        factor = min(1.0, (part + 1 / self.steps) / warm) if part < warm else 1.0
        factor *= 0.5 * (1 + math.cos(math.pi * part))
        groups = [group for one in self.optimizers for group in one.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * factor
        for parameter in self.model.parameters():  # of embeddings that ask for sparse gradients
            if parameter.grad is not None and parameter.grad.layout != torch.strided:
                parameter.grad = parameter.grad.to_dense()
        if self.training.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip)
        for one in self.optimizers:
            one.step()
            one.zero_grad(set_to_none=True)
        self.step += 1

    def note(self, mean: float) -> None:
        """Count the epochs since the loss fell."""
        if mean < self.best * (1 - 1e-4):
            self.best, self.since = mean, 0
        else:
            self.since += 1

    def out_of_patience(self) -> bool:
        """Whether the loss has not fallen for as long as patience lasts."""
        return self.training.patience is not None and self.since >= self.training.patience

    def identity(self) -> str:
        """What a checkpoint must be of, to be gone on from."""
        budget = self.loss.budget
        target = "" if budget is None else f"; {budget.target:.0f} bits"
        return f"{self.training!r}; {self.length} batches{target}"

    def keep(self) -> None:
        assert self.fit.checkpoint is not None
        budget = self.loss.budget
        place = LoopPosition(
            self.epoch,
            self.step,
            self.loss.calls,
            self.best if math.isfinite(self.best) else None,
            self.since,
            None if budget is None else dict(vars(budget)),
            self.identity(),
        )
        beside = self.loss.state()
        write_checkpoint(self.fit.checkpoint, self.model, self.optimizers, place, beside)

    def restore(self) -> None:
        assert self.fit.checkpoint is not None
        place, beside = read_checkpoint(
            self.fit.checkpoint, self.model, self.optimizers, self.identity()
        )
        self.epoch, self.step = place.epoch, place.step
        self.loss.calls, self.since = place.calls, place.since
        self.best = math.inf if place.best is None else place.best
        if self.loss.budget is not None and place.budget is not None:
            vars(self.loss.budget).update(place.budget)
        self.loss.restore(beside)


class _Alone:
    """One process."""

    size, first = 1, True

    def __init__(self, precision: str) -> None:
        self._dtype = getattr(torch, precision)

    def prepare(self, model: nn.Module) -> nn.Module:
        return model

    def share(self, batches: Iterable[object]) -> Iterable[object]:
        return batches

    def precision(self) -> contextlib.AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", self._dtype)

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


class _Several(_Alone):
    """One of several processes that accelerate has started: each takes every n-th batch."""

    def __init__(self, precision: str) -> None:
        super().__init__(precision)
        try:
            from accelerate import Accelerator  # type: ignore[import-untyped]
        except ImportError:
            raise ArgumentError(
                "several processes take accelerate: pip install 'taut[train]'"
            ) from None
        words = {"float32": "no", "bfloat16": "bf16"}
        self._accelerator = Accelerator(mixed_precision=words[precision])
        self.size = self._accelerator.num_processes
        self.first = self._accelerator.is_main_process

    def prepare(self, model: nn.Module) -> nn.Module:
        prepared: nn.Module = self._accelerator.prepare_model(model)
        return prepared

    def share(self, batches: Iterable[object]) -> Iterable[object]:
        rank = self._accelerator.process_index
        group: list[object] = []
        for batch in batches:
            group.append(batch)
            if len(group) == self.size:
                yield group[rank]
                group = []
        if group:  # all make the same number of steps, or they would wait for one another
            yield group[rank % len(group)]

    def precision(self) -> contextlib.AbstractContextManager[object]:
        found: contextlib.AbstractContextManager[object] = self._accelerator.autocast()
        return found

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)


def _world(training: Training) -> _Alone:
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return _Several(training.precision) if several else _Alone(training.precision)
