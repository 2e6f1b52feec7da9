"""Weights that are what the file will hold while they are trained: fake quantisation.

Each is a parametrisation (torch.nn.utils.parametrize) of one tensor. Gradients pass the rounding as
if it were not there (the straight-through estimator, Bengio et al. 2013). Here is what all of them
share; what weights are rounded to is in learnt_steps.py and trained_forms.py.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

USUAL_SIZE: Final = 0.1  # the root mean square of weights that nothing is known of


class FakeQuant(nn.Module):
    """Passes a weight on as it will be decoded; `mask`, where there is one, zeroes before that.

    `reached` holds of every part whether a gradient of the task ever came to it, other than zeros.
    Parts are equal runs of the tensor's numbers: rows of an embedding, or the one whole. Where
    there is a `norm_axis`, no slice along it becomes zero as a whole (-1: nor the tensor).
    """

    mask: Tensor | None
    reached: Tensor
    norm_axis: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)
        self.register_buffer("reached", torch.zeros(1, dtype=torch.bool))
        self._any = self._all = False  # once known: looking at a tensor may wait for a device

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as it will be decoded, with gradients to it and to what is learnt beside."""
        value = self.quantised(self.kept(weight))
        watched: Tensor = _Watched.apply(value, self)  # type: ignore[no-untyped-call]
        return watched

    @property
    def taught(self) -> bool:
        """Whether a gradient of the task ever came to any part."""
        self._any = self._any or bool(self.reached.any())
        return self._any

    @property
    def all_taught(self) -> bool:
        """Whether one came to all parts."""
        self._all = self._all or bool(self.reached.all())
        return self._all

    def watch(self, parts: int) -> None:
        """Begin to watch for gradients, of so many parts."""
        self.reached = self.reached.new_zeros(parts)
        self._any = self._all = False

    def note(self, gradient: Tensor) -> None:
        """Take note of a gradient of the task, of the weight's shape."""
        if not self.all_taught:
            self.reached |= (gradient.reshape(len(self.reached), -1) != 0).any(1)

    def drawn(self, values: Tensor) -> Tensor:
        """`values` of the weight's shape, with gradients for parts that were reached alone."""
        if self.all_taught:
            return values
        parts = values.reshape(len(self.reached), -1)
        return torch.where(self.reached[:, None], parts, parts.detach()).reshape(values.shape)

    def kept(self, weight: Tensor) -> Tensor:
        """The weight with its mask applied; gradients pass to the masked ones too.

        They tell which of these to bring back; whether they move is for who holds the masks.
        """
        if self.mask is None:
            return weight
        return weight - (weight * ~self.mask).detach()

    def quantised(self, weight: Tensor) -> Tensor:
        """As `forward`, of a weight already masked."""
        return weight

    def index(self, weight: Tensor) -> Tensor | None:
        """The integers that are coded, of the weight's shape; None where floats are."""
        return None

    def ratio(self, weight: Tensor) -> Tensor | None:
        """The masked weight in steps, with its gradient; None where bits have no gradient."""
        return None

    def levels(self) -> tuple[Tensor, int] | None:
        """The values of indices low, low + 1, .. as (table, low); None where index x step is it."""
        return None

    def scales(self, weight: Tensor) -> Tensor | None:
        """What indices are multiplied by: a scalar, or shape (rows, groups)."""
        return None


class _Watched(torch.autograd.Function):
    """The value itself; notes that its gradient came, and makes a sparse one dense."""

    @staticmethod
    def forward(ctx, value: Tensor, quant: FakeQuant) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.quant = quant
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
        ctx.quant.note(dense.detach())
        return dense, None


def grouped(weight: Tensor, group: int | None) -> Tensor:
    """Shape (rows, groups, columns in a group); a vector is one row."""
    rows = weight.shape[0] if weight.ndim > 1 else 1
    flat = weight.reshape(rows, -1)
    return flat.reshape(rows, -1, group or max(1, flat.shape[1]))


def joined(parts: Tensor, weight: Tensor) -> Tensor:
    """Such parts in the weight's shape again."""
    return parts.reshape(weight.shape)
