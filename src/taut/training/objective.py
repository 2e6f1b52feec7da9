"""The loss of a training: the task, the teacher, and the size, as one number.

A loop of any kind calls it once for each batch, after the model ran on it:

    loss(task).backward()

Everything that goes with the steps of a training happens in that call: the masks grow, the tables
of the bits are taken anew, the weight of a bit is steered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from taut.errors import ArgumentError
from taut.io.names import some_names
from taut.training.budget import Budget
from taut.training.distill import Lesson
from taut.training.sparsify import Sparsifier
from taut.training.student import Student, Twin
from taut.transform.settings import Training

_EVERY: Final = 10  # calls between two looks at the bits, at most
_LOOKS: Final = 400  # at them in a training, at least (if it has so many calls)
_MEASURES: Final = 25  # times that the file's size is worked out to the byte
_TOTAL: Final = 1000  # calls that a loop is taken to make, which does not say
_UNTAUGHT: Final = "rounded, and neither trained nor priced"


class Objective:
    """The `loss` that a user's `fit(model, loss)` is given.

    `total` is the number of calls that the loop will make: schedules go by it. A loop that knows
    its place may say so instead: `loss(task, progress)` with progress from 0 to 1. `measure` gives
    the bits of the whole file, were it written now; the estimate is set right by it.
    """

    def __init__(
        self,
        student: Student,
        training: Training,
        lesson: Lesson | None = None,
        budget: Budget | None = None,
        sparsifier: Sparsifier | None = None,
    ) -> None:
        self.student, self.training = student, training
        self.total: int = _TOTAL
        self.calls = 0
        self.budget = budget
        self.measure: Callable[[], float] | None = None
        self._measured = -1
        self._lesson, self._sparsifier = lesson, sparsifier
        self._parameters = max(1, sum(twin.original.numel() for twin in student.twins))

    def __call__(self, task: Tensor | None = None, progress: float | None = None) -> Tensor:
        """The loss of the batch that the model saw last, a scalar with gradients.

        `task` is the task's own loss; without it the teacher alone is learnt from.

        Raises:
            ArgumentError: there is nothing to learn from, or `task` is no finite scalar.
        """
        if task is not None:
            self._check(task)
        at = self.calls / max(1, self.total) if progress is None else progress
        self.begin(min(1.0, max(0.0, at)))
        if self._lesson is not None:
            total = self._lesson.loss(task)
        elif task is not None:
            total = task
        else:
            raise ArgumentError("fit: without a teacher the loss wants the task's: loss(task)")
        pull = None if self._sparsifier is None else self._sparsifier.penalty()
        if pull is not None:
            total = total + pull
        if self.budget is not None and self.budget.price > 0:
            total = total + self.budget.price * self.bits()
        return total

    def classes_on(self, axis: int) -> None:
        """Tell the teacher's part that the targets are classes, on that axis of the outputs."""
        if self._lesson is not None:
            self._lesson.classes_on(axis)

    def begin(self, progress: float) -> None:
        """What is done before a step: masks, and every few steps a look at the bits."""
        if self._sparsifier is not None:
            self._sparsifier.later(progress)
        if self.budget is not None and self.calls % min(_EVERY, max(1, self.total // _LOOKS)) == 0:
            spent = self.spent()
            if self.measure is not None and int(progress * _MEASURES) != self._measured:
                self._measured = int(progress * _MEASURES)
                self.budget.other = self.measure() - spent
            self.budget.look(spent, progress, self._parameters)
            if self.calls:
                self._level(spent, self.budget.course(progress))
        self.calls += 1

    def spent(self) -> float:
        """The bits that the tensors in training take now, by the estimate.

        Raises:
            ArgumentError: there are values in one of them that are no numbers.
        """
        for twin in self.student.twins:
            if not torch.isfinite(twin.original.detach()).all():
                raise ArgumentError(
                    f'train: "{twin.name}" has NaN or infinite values after {self.calls:,} steps; '
                    "look for such values in the batches, else a lower lr or a clip helps"
                )
        return sum(twin.refresh() for twin in self.student.twins)

    def _level(self, spent: float, course: float) -> None:
        """Let what has no gradient take no more bits a weight than all do on their course.

        Nothing says which of its weights count, so that none is drawn to zero: steps grow alone.
        Else the other tensors would have to make room for it.
        """
        if spent <= course:
            return
        for twin in self.student.twins:
            count, bits = twin.untaught()
            if count:
                twin.coarsen((bits - course * count / self._parameters) / count)

    def bits(self) -> Tensor:
        """The estimated bits with their gradients, of what a gradient of the task ever came to.

        What the task does not see would cost nothing to give up.
        """
        priced = [twin for twin in self.student.twins if twin.taught or _several()]
        found = [(twin, bits) for twin in priced if (bits := twin.bits()) is not None]
        if not found:
            return torch.zeros(())
        return torch.stack([bits if twin.taught else 0.0 * bits for twin, bits in found]).sum()

    def renew(self) -> None:
        """Take the bits' tables anew: every epoch begins so, for a training may resume there."""
        if self.budget is not None and self.calls:
            self.spent()

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs beside the network, `calls` and the budget's numbers."""
        found = {"measured": torch.tensor(self._measured)}
        if self._sparsifier is not None:
            found |= {f"masks/{name}": one for name, one in self._sparsifier.state().items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self._measured = int(state["measured"])
        if self._sparsifier is not None:
            begin = "masks/"
            masks = {n[len(begin) :]: t for n, t in state.items() if n.startswith(begin)}
            self._sparsifier.restore(masks)

    def finish(self) -> str | None:
        """Make the masks what was asked for, if the loop's calls did not; then says so."""
        masks = self._sparsifier
        if masks is None:
            return None
        masks.settle()
        if masks.final:
            return None
        masks.update(1.0)
        return (
            f"the masks reached their sparsity only after the last of {self.calls:,} calls: set "
            "loss.total to their number, or call loss(task, progress)"
        )

    def untaught(self) -> list[str]:
        """What is to be said of outputs without a teacher, and of tensors without a gradient."""
        notes = [] if self._lesson is None else list(self._lesson.notes)
        moving = [twin for twin in self.student.twins if twin.original.requires_grad]
        if none := [twin.name for twin in moving if not twin.taught]:
            notes.append(f"no gradient came to {some_names(none)}: {_UNTAUGHT}")
        return notes + _untaught_parts([twin for twin in moving if twin.taught])

    def close(self) -> None:
        """Watch the network no more."""
        for watcher in (self._lesson, self._sparsifier):
            if watcher is not None:
                watcher.close()

    def _check(self, task: Tensor) -> None:
        if not isinstance(task, Tensor) or task.numel() != 1:
            raise ArgumentError(
                f"fit: loss was given a {type(task).__name__}; it takes the task's loss, a scalar "
                "tensor"
            )
        if not torch.isfinite(task.detach()).all():
            raise ArgumentError(
                f"fit: the loss is {float(task.detach())} at step {self.calls + 1}; "
                "a lower lr or a clip helps"
            )


def _untaught_parts(twins: Sequence[Twin]) -> list[str]:
    """What is to be said of tensors that had a gradient in some parts alone, if there are any."""
    some = [twin for twin in twins if not twin.quant.all_taught]
    if not some:
        return []
    counts = [f"{int((~t.quant.reached).sum())} of {len(t.quant.reached)}" for t in some]
    names = some_names([twin.name for twin in some])
    return [f"no gradient came to parts of {names} ({', '.join(counts[:8])}): {_UNTAUGHT}"]


def _several() -> bool:
    """Whether other processes wait for a gradient of every tensor, be it of zeros."""
    together = torch.distributed
    return together.is_available() and together.is_initialized()


Fit = Callable[[torch.nn.Module, Objective], object]
