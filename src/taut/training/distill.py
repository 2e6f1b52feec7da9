"""Distillation: a student learns what its teacher says, and how it comes to say it.

Hinton, Vinyals and Dean 2015: logits are softened by a temperature T, and the KL divergence is
scaled by T^2, so that its gradients stay as large as the task's. Outputs that are no logits
(features, embeddings) are matched by their relative squared error. Every output is taught: what no
gradient reached would be free to become anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias, cast

import torch
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.calls import copied, explained
from taut.networks.output_kind import class_axes
from taut.networks.outputs import as_real, class_axis, float_parts
from taut.transform.settings import Distill

Teacher = Callable[..., object]
_Given: TypeAlias = tuple[tuple[object, ...], dict[str, object]]  # in order, and by name

_LEAST: Final = -1e4  # nats: a logit of -inf forbids a class, and must not become inf - inf


def distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, axis: int | None = None
) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) in nats, mean over positions.

    `axis` is that of the classes; by itself 1 for images, the last for all else (`class_axis`).

    >>> logits = torch.tensor([[0.0, 1.0]])
    >>> distillation_loss(logits, logits, 2.0).item()
    0.0
    """
    axis = class_axis(student) if axis is None else axis
    own, its = (z.movedim(axis, -1).reshape(-1, z.shape[axis]) for z in (student, teacher))
    soft = torch.log_softmax(own / temperature, -1).clamp_min(_LEAST)
    aim = torch.log_softmax(its / temperature, -1).clamp_min(_LEAST)
    divergence = nn.functional.kl_div(soft, aim, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared error over the teacher's squares, of what the teacher has finite values for."""
    finite = torch.isfinite(teacher)
    if not bool(finite.all()):
        student, teacher = student.masked_fill(~finite, 0.0), teacher.masked_fill(~finite, 0.0)
    return (student - teacher).square().sum() / teacher.square().sum().clamp(min=1e-12)


def outputs_of(output: object) -> Tensor:
    """The tensor that a network's output is about: itself, `.logits`, or the first there is.

    Raises:
        ArgumentError: there is no tensor in it.
    """
    _, found = _main_part(output)
    return as_real(found)


def _main_part(output: object) -> tuple[str, Tensor]:
    """The tensor that an output is about, and its place among the output's parts."""
    parts = float_parts(output)
    given = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(given, Tensor):
        return next((place for place, one in parts.items() if one is given), "logits"), given
    real = [place for place, one in parts.items() if one.is_floating_point()]
    for place in (*real, *parts):
        return place, parts[place]
    if isinstance(output, Tensor):
        return "", output
    raise ArgumentError(f"the network gives a {type(output).__name__}, in which no tensor is found")


class Lesson:
    """What a student is to learn from its teacher, for the batch that it saw last.

    The student's call is watched: its arguments are given to the teacher when the loss is asked
    for. Logits are compared as distributions, features as they are; which of them each output is
    shows at the first batch. All of them count alike. `notes` name outputs that are not taught.
    """

    def __init__(self, student: nn.Module, teacher: Teacher, settings: Distill) -> None:
        self._teacher, self._settings = teacher, settings
        self._module = student
        self._axes: dict[str, int] | None = None  # of classes, by the places of outputs
        self._told: int | None = None  # that of the main output, from the targets
        self._call: _Given | None = None
        self._output: object = None
        self.notes: list[str] = []
        self._student, self._aims = _Taps(student, settings.features, "student"), None
        if settings.features:
            if not isinstance(teacher, nn.Module):
                raise ArgumentError("distill features: want a teacher that is an nn.Module")
            self._aims = _Taps(teacher, settings.features, "teacher")
        # Functions, which copies of the student that a loop makes do not copy in turn.
        self._hooks = (
            student.register_forward_pre_hook(
                lambda *seen: self._goes(*seen), prepend=True, with_kwargs=True
            ),
            student.register_forward_hook(lambda *seen: self._saw(*seen)),
        )

    def _goes(self, module: nn.Module, given: tuple[object, ...], named: dict[str, object]) -> None:
        """Keep what the student is called with, before it and its hooks work on it."""
        if module is self._module and torch.is_grad_enabled():
            self._call = cast("_Given", copied((given, named)))

    def _saw(self, module: nn.Module, given: object, output: object) -> None:
        if module is self._module and torch.is_grad_enabled():
            self._output = output

    def forget(self) -> None:
        """Let go of the last batch."""
        self._call = self._output = None

    def close(self) -> None:
        """Watch the student no more."""
        for hook in self._hooks:
            hook.remove()
        for taps in (self._student, self._aims):
            if taps is not None:
                taps.close()

    def classes_on(self, axis: int) -> None:
        """Take the main output for logits, with classes on that axis: the targets have told."""
        self._told = axis

    def loss(self, task: Tensor | None) -> Tensor:
        """(1 - weight) * task + weight * what the teacher adds; without a task the latter alone.

        Raises:
            ArgumentError: the student has not run, or the teacher fails or gives other outputs.
        """
        if self._call is None:
            raise ArgumentError("fit: asked for the loss before the model had run on a batch")
        given, named = self._call
        with torch.no_grad(), explained("teacher: failed", (*given, *([named] if named else []))):
            own = cast("_Given", copied(self._call))
            aim: object = self._teacher(*own[0], **own[1])
        learnt = self._of_outputs(self._output, aim)
        weight = 1.0 if task is None else self._settings.weight
        total = weight * learnt if task is None else (1 - weight) * task + weight * learnt
        if self._aims is not None:
            total = total + self._of_features(self._aims)
        return total

    def _of_outputs(self, output: object, aim: object) -> Tensor:
        """The mean over all outputs that the teacher has too."""
        main, its_main = outputs_of(output), outputs_of(aim)
        if main.shape != its_main.shape:
            raise ArgumentError(
                f"teacher: gives outputs of shape {list(its_main.shape)}, the student "
                f"{list(main.shape)}; they must be alike"
            )
        if self._axes is None:
            self._axes = self._tell()
        first, its = _main_part(output)[0], float_parts(aim)
        axis = self._axes.get(first) if self._told is None else self._told
        found = [self._of_one(main, its_main, axis)]
        for place, own in float_parts(output).items():
            other = its.get(place)
            if place == first:
                continue
            if other is None or other.shape != own.shape or other.is_complex() != own.is_complex():
                self._pass_by(place)
            else:
                found.append(self._of_one(own, other, self._axes.get(place)))
        return torch.stack(found).mean()

    def _of_one(self, own: Tensor, its: Tensor, axis: int | None) -> Tensor:
        own, its = as_real(own), as_real(its)
        if axis is None:
            return feature_loss(own.float(), its.float())
        return distillation_loss(own.float(), its.float(), self._settings.temperature, axis)

    def _pass_by(self, place: str) -> None:
        note = f'distill: the teacher gives no output "{place}" like the student\'s: not taught'
        if note not in self.notes:
            self.notes.append(note)

    def _of_features(self, aims: _Taps) -> Tensor:
        """The relative squared error of the modules that settings name, times its weight."""
        found = []
        for name in self._settings.features:
            own, its = self._student.of(name), aims.of(name)
            if own.shape != its.shape:
                raise ArgumentError(
                    f'distill features: "{name}" gives {list(own.shape)}, the teacher\'s '
                    f"{list(its.shape)}; name modules whose outputs are alike"
                )
            found.append(feature_loss(own, its))
        return self._settings.feature_weight * torch.stack(found).sum()

    def _tell(self) -> dict[str, int]:
        """Which outputs are logits; a bare last layer says no more than a task does.

        That is one more run of the student, which must leave no trace in its statistics, in the
        random numbers, or in the features of the batch.
        """
        assert self._call is not None
        given, named = self._call
        seen = dict(self._student.seen)
        where = "train: the first batch, in evaluation mode"
        with evaluating(self._module):
            found = class_axes(self._module, given, where, named)
        self._student.seen.update(seen)
        return found


class _Taps:
    """The outputs of some modules inside a network, as of its last call."""

    def __init__(self, network: nn.Module, names: tuple[str, ...], whose: str) -> None:
        self.seen: dict[str, Tensor] = {}
        self._whose = whose
        known = dict(network.named_modules())
        for name in names:
            if name not in known:
                raise ArgumentError(
                    f'distill features: the {whose} has no module "{name}"{nearest(name, known)}'
                )
        self._hooks = [known[n].register_forward_hook(self._keep(n, known[n])) for n in names]

    def of(self, name: str) -> Tensor:
        """What a module gave last; raises ArgumentError if it never ran."""
        if name not in self.seen:
            raise ArgumentError(
                f'distill features: the {self._whose}\'s "{name}" did not run on the batch; name '
                "modules that forward calls"
            )
        return self.seen[name]

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
