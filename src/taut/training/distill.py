"""Distillation: a student learns what its teacher says, and how it comes to say it.

Hinton, Vinyals and Dean 2015: logits are softened by a temperature T, and the KL divergence is
scaled by T^2, so that its gradients stay as large as the task's. Outputs that are no logits
(features, embeddings) are matched by their relative squared error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.calls import explained
from taut.networks.output_kind import output_kind
from taut.transform.settings import Distill

Teacher = Callable[..., object]


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) in nats, mean over positions.

    >>> logits = torch.tensor([[0.0, 1.0]])
    >>> distillation_loss(logits, logits, 2.0).item()
    0.0
    """
    width = student.shape[-1]
    soft = torch.log_softmax(student.reshape(-1, width) / temperature, -1)
    aim = torch.log_softmax(teacher.reshape(-1, width) / temperature, -1)
    divergence = nn.functional.kl_div(soft, aim, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared error over the teacher's squares."""
    return (student - teacher).square().sum() / teacher.square().sum().clamp(min=1e-12)


def outputs_of(output: object) -> Tensor:
    """The tensor that a network's output is about: itself, `.logits`, or the first there is.

    Raises:
        ArgumentError: there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    by_name = output if isinstance(output, Mapping) else {"logits": getattr(output, "logits", None)}
    found = by_name.get("logits")
    if isinstance(found, Tensor):
        return found
    parts = tuple(output.values()) if isinstance(output, Mapping) else output
    for part in parts if isinstance(parts, (tuple, list)) else ():
        if isinstance(part, Tensor) and part.is_floating_point() and part.ndim:  # no loss
            return part
    raise ArgumentError(f"the network gives a {type(output).__name__}, in which no tensor is found")


class Lesson:
    """What a student is to learn from its teacher, for the batch that it saw last.

    The student's call is watched: its arguments are given to the teacher when the loss is asked
    for. Logits are compared as distributions, features as they are; which of them the outputs are
    shows at the first batch.
    """

    def __init__(self, student: nn.Module, teacher: Teacher, settings: Distill) -> None:
        self._teacher, self._settings = teacher, settings
        self._module, self._kind = student, ""
        self._call: tuple[tuple[object, ...], dict[str, object]] | None = None
        self._output: object = None
        self._student, self._aims = _Taps(student, settings.features, "student"), None
        if settings.features:
            if not isinstance(teacher, nn.Module):
                raise ArgumentError("distill features: want a teacher that is an nn.Module")
            self._aims = _Taps(teacher, settings.features, "teacher")
        # A function, which copies of the student that a loop makes do not copy in turn.
        self._hook = student.register_forward_hook(lambda *seen: self._saw(*seen), with_kwargs=True)

    def _saw(
        self, module: nn.Module, given: tuple[object, ...], named: dict[str, object], output: object
    ) -> None:
        if module is self._module and torch.is_grad_enabled():
            self._call, self._output = (given, named), output

    def forget(self) -> None:
        """Let go of the last batch."""
        self._call = self._output = None

    def close(self) -> None:
        """Watch the student no more."""
        self._hook.remove()
        for taps in (self._student, self._aims):
            if taps is not None:
                taps.close()

    def loss(self, task: Tensor | None) -> Tensor:
        """(1 - weight) * task + weight * what the teacher adds; without a task the latter alone.

        Raises:
            ArgumentError: the student has not run, or the teacher gives other outputs.
        """
        if self._call is None:
            raise ArgumentError("fit: asked for the loss before the model had run on a batch")
        given, named = self._call
        with torch.no_grad(), explained("teacher: failed", named or given):
            aim = outputs_of(self._teacher(*given, **named))
        output = outputs_of(self._output)
        if output.shape != aim.shape:
            raise ArgumentError(
                f"teacher: gives outputs of shape {list(aim.shape)}, the student "
                f"{list(output.shape)}; they must be alike"
            )
        settings = self._settings
        if not self._kind:
            self._kind = self._tell(given, named)
        if self._kind == "logits":
            learnt = distillation_loss(output.float(), aim.float(), settings.temperature)
        else:
            learnt = feature_loss(output.float(), aim.float())
        weight = 1.0 if task is None else settings.weight
        total = weight * learnt if task is None else (1 - weight) * task + weight * learnt
        if self._aims is not None:
            for name in settings.features:
                own, its = self._student.seen[name], self._aims.seen[name]
                if own.shape != its.shape:
                    raise ArgumentError(
                        f'distill features: "{name}" gives {list(own.shape)}, the teacher\'s '
                        f"{list(its.shape)}; name modules whose outputs are alike"
                    )
                total = total + settings.feature_weight * feature_loss(own, its)
        return total

    def _tell(self, given: tuple[object, ...], named: dict[str, object]) -> str:
        """Whether the outputs are logits; a bare last layer says no more than a task does.

        That is one more run of the student, which must leave no trace in its statistics, in the
        random numbers, or in the features of the batch.
        """
        seen = dict(self._student.seen)
        with evaluating(self._module):
            if named or len(given) != 1:
                found = output_kind(self._module, {**named} if named else given)
            else:
                found = output_kind(self._module, given[0])
        self._student.seen.update(seen)
        return found


class _Taps:
    """The outputs of some modules inside a network, as of its last call."""

    def __init__(self, network: nn.Module, names: tuple[str, ...], whose: str) -> None:
        self.seen: dict[str, Tensor] = {}
        known = dict(network.named_modules())
        for name in names:
            if name not in known:
                raise ArgumentError(
                    f'distill features: the {whose} has no module "{name}"{nearest(name, known)}'
                )
        self._hooks = [known[n].register_forward_hook(self._keep(n, known[n])) for n in names]

    def _keep(self, name: str, watched: nn.Module) -> Callable[[nn.Module, object, object], None]:
        def keep(module: nn.Module, given: object, output: object) -> None:
            if module is watched:  # not a copy of it
                self.seen[name] = outputs_of(output)

        return keep

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


@contextmanager
def evaluating(teacher: Teacher) -> Iterator[Teacher]:
    """The teacher in evaluation mode, if it is a module; afterwards as it was."""
    modes = (
        [(part, part.training) for part in teacher.modules()]
        if isinstance(teacher, nn.Module)
        else []
    )
    try:
        if isinstance(teacher, nn.Module):
            teacher.eval()
        yield teacher
    finally:
        for part, training in modes:
            part.training = training
