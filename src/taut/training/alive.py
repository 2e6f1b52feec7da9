"""Weights that are divided by their norms: of each slice one must stay, or nothing is a number.

Weight normalisation gives g v / |v|, with a norm for each slice of v. The length of v is of no
account, so that bits are saved by making it small; a slice of zeros has no direction left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.weight_norm import WeightNorm


def norm_axis(owner: nn.Module, attribute: str) -> int | None:
    """The axis whose slices are divided by their norms (-1: the whole is); None if none is.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> norm_axis(layer.parametrizations.weight, "original1"), norm_axis(layer, "bias")
    (0, None)
    """
    if isinstance(owner, ParametrizationList):
        first = owner[0]
        return first.dim if isinstance(first, _WeightNorm) and attribute == "original1" else None
    for hook in owner._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and attribute == f"{hook.name}_v":
            return hook.dim
    return None


@torch.no_grad()
def to_wake(index: Tensor, size: Tensor, axis: int) -> Tensor:
    """Which indices must not be zero: the largest by `size` of each slice that has no other.

    >>> to_wake(torch.tensor([[0, 1], [0, 0]]), torch.tensor([[1.0, 3.0], [2.0, 1.0]]), 0)
    tensor([[False, False],
            [ True, False]])
    """
    slices = 1 if axis < 0 else index.shape[axis]
    live = index.movedim(axis, 0) if axis > 0 else index
    sizes = size.movedim(axis, 0) if axis > 0 else size
    dead = ~(live.reshape(slices, -1) != 0).any(1, keepdim=True)
    flat = sizes.reshape(slices, -1)
    largest = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.argmax(1, True), True)
    found = (largest & dead).reshape(live.shape)
    return found.movedim(0, axis) if axis > 0 else found
