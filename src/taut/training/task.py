"""The loss of the task where the caller gives none, by what the targets are.

Integers are classes. Floats may be values, class probabilities, or yes and no as 1 and 0: where
they could be more than one of these, the network as it comes tells, by which of them it agrees
with more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from taut.errors import ArgumentError
from taut.networks.outputs import as_real, class_axis
from taut.training.distill import outputs_of

_IGNORED: Final = -100  # as torch's cross_entropy has it
_SUM: Final = 1e-3  # so near to one is the sum of a distribution
_SAID: Final = {
    "classes": "float targets that sum to one are read as class probabilities (cross entropy)",
    "binary": "float targets of 0 and 1 are read as yes and no (binary cross entropy of logits)",
}


class TaskLoss:
    """Takes outputs and targets of one batch after another.

    `axis` is that of the classes in the last batch, None where it had none. How float targets are
    read is settled by the first batch, and changed only if a later one cannot be read so.
    """

    def __init__(self) -> None:
        self.axis: int | None = None
        self._reading = ""

    def __call__(self, output: object, target: object, where: str = "train") -> Tensor | None:
        """The output's own `.loss`, or by the target; None where there is no target of tensors.

        `where` names the batch in errors.

        Raises:
            ArgumentError: the targets do not fit the output; the message has both shapes.
        """
        self.axis = None
        own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(own, Tensor):
            return own
        if not isinstance(target, Tensor):
            return None
        found = outputs_of(output)
        target = as_real(target)
        if target.is_floating_point():
            return self._of_floats(found, _laid(found, target, where).to(found.dtype))
        if found.numel() == target.numel():
            return _decisions(found, target, where)
        return self._of_classes(found, target, where)

    @property
    def said(self) -> str | None:
        """How float targets were read, where they are not taken for values."""
        said = _SAID.get(self._reading)
        return None if said is None else f"train: {said}; give a loss of your own for another"

    def _of_classes(self, found: Tensor, target: Tensor, where: str) -> Tensor:
        axis = class_axis(found, target)
        classes = found.shape[axis] if found.ndim else 1
        if found.numel() != target.numel() * classes:
            raise _unfit(found, target, where)
        _check_range(target, classes, f"{classes} classes on axis {axis % found.ndim}", where)
        self.axis = axis
        rows = found.movedim(axis, -1).reshape(-1, classes)
        flat = target.reshape(-1).long()
        if not bool((flat != _IGNORED).any()):
            return rows.sum() * 0.0
        return functional.cross_entropy(rows, flat, ignore_index=_IGNORED)

    def _of_floats(self, found: Tensor, target: Tensor) -> Tensor:
        axis = _sums_to_one(target)
        able = {"classes": axis is not None, "binary": _yes_or_no(target), "values": True}
        if not able.get(self._reading, False):
            self._reading = _agreed_reading(found.detach(), target, able, axis)
        if self._reading == "classes":
            assert axis is not None
            self.axis = axis
            return -(target * found.log_softmax(axis)).sum(axis).mean()
        if self._reading == "binary":
            return functional.binary_cross_entropy_with_logits(found, target)
        return functional.mse_loss(found, target)


def task_loss(output: object, target: object) -> Tensor | None:
    """The loss of one batch by itself, as `TaskLoss` takes it.

    Classes are on the axis that integer targets leave out: axis 1 of images, as torch's
    cross_entropy has it, the last of sequences (batch, time, classes). Targets of -100 are ignored.

    >>> images, labels = torch.zeros(2, 8, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    >>> round(float(task_loss(images, labels)), 4)  # the logarithm of 8
    2.0794
    """
    return TaskLoss()(output, target)


def _laid(found: Tensor, target: Tensor, where: str) -> Tensor:
    """Targets in the output's shape; they may differ in axes of length 1 alone."""
    if [n for n in found.shape if n != 1] != [n for n in target.shape if n != 1]:
        raise _unfit(found, target, where)
    return target.reshape(found.shape)


def _decisions(found: Tensor, target: Tensor, where: str) -> Tensor:
    """Binary cross entropy: one logit for each target, which is 0, 1 or ignored."""
    target = _laid(found, target, where)
    _check_range(target, 2, "one logit for each", where)
    live = target != _IGNORED
    if not bool(live.any()):
        return found.sum() * 0.0
    return functional.binary_cross_entropy_with_logits(found[live], target[live].to(found.dtype))


def _check_range(target: Tensor, classes: int, has: str, where: str) -> None:
    """Whether targets are numbers of classes; raises ArgumentError if not."""
    if target.dtype == torch.bool:
        return
    live = target[target != _IGNORED]
    if live.numel() and (int(live.min()) < 0 or int(live.max()) >= classes):
        raise ArgumentError(
            f"{where}: targets run from {int(live.min())} to {int(live.max())}, and the output has "
            f"{has}; what is to be ignored is {_IGNORED}, and values are floats; else give a loss "
            "of your own"
        )


def _unfit(found: Tensor, target: Tensor, where: str) -> ArgumentError:
    return ArgumentError(
        f"{where}: targets of shape {list(target.shape)} do not fit outputs of "
        f"{list(found.shape)}; give targets that do, or a loss of your own"
    )


def _yes_or_no(target: Tensor) -> bool:
    return bool(((target == 0) | (target == 1)).all())


def _sums_to_one(target: Tensor) -> int | None:
    """The axis on which targets are distributions over two classes or more, if there is one."""
    if target.ndim < 2 or bool((target < 0).any()):
        return None
    usual = class_axis(target)
    for axis in (usual, -usual):
        if target.shape[axis] > 1 and bool(((target.sum(axis) - 1).abs() < _SUM).all()):
            return axis
    return None


def _agreed_reading(
    found: Tensor, target: Tensor, able: Mapping[str, bool], axis: int | None
) -> str:
    """The reading by which outputs are best beside what knows nothing: equal chances for all."""
    off = {"values": math.inf, "classes": math.inf, "binary": math.inf}
    chance = 1 / target.shape[axis] if axis is not None else 0.5
    if able["classes"]:
        assert axis is not None
        entropy = torch.special.entr(target).sum(axis).mean()
        crossed = -(target * found.log_softmax(axis)).sum(axis).mean()
        off["classes"] = _over(crossed - entropy, math.log(target.shape[axis]) - entropy)
    if able["binary"]:
        crossed = functional.binary_cross_entropy_with_logits(found, target)
        off["binary"] = _over(crossed, torch.tensor(math.log(2)))
    if able["classes"] or able["binary"]:
        off["values"] = _over((found - target).square().mean(), (target - chance).square().mean())
    else:
        off["values"] = 0.0
    return min(off, key=lambda reading: off[reading])


def _over(value: Tensor, chance: Tensor) -> float:
    return float(value) / max(float(chance), 1e-12)
