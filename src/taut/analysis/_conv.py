"""Convolutions as linear maps: the patches that their weights see, of any number of axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, dilation and padding (before, after) of each axis, and the groups."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int


def geometry_of(weight: object, given: Mapping[str, object]) -> Geometry:
    """The geometry that a convolution's arguments ask for."""
    kernel = tuple(int(k) for k in getattr(weight, "shape", ())[2:])
    stride = _each(given.get("stride", 1), kernel)
    dilation = _each(given.get("dilation", 1), kernel)
    padding = given.get("padding", 0)
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple((r // 2, r - r // 2) for r in reach)
    else:
        pads = tuple((p, p) for p in _each(0 if padding == "valid" else padding, kernel))
    groups = given.get("groups", 1)
    return Geometry(kernel, stride, dilation, pads, groups if isinstance(groups, int) else 1)


def patches(images: torch.Tensor, shape: Geometry) -> torch.Tensor:
    """The patch at each output position: (N, C, *space) to (N, *positions, C * kernel).

    A patch is laid out as a row of the weight matrix is: channels first, then the kernel's axes.
    """
    from torch.nn import functional

    axes = len(shape.kernel)
    if any(sum(pair) for pair in shape.padding):
        images = functional.pad(images, [p for pair in reversed(shape.padding) for p in pair])
    for axis in range(axes):
        size = shape.dilation[axis] * (shape.kernel[axis] - 1) + 1
        images = images.unfold(2 + axis, size, shape.stride[axis])[..., :: shape.dilation[axis]]
    order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    windows = images.permute(order)
    return windows.reshape(*windows.shape[: 1 + axes], -1)


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """(N, C, *space) to (N, *space, C)."""
    return images.movedim(1, -1)


def patch_values(images: torch.Tensor, shape: Geometry) -> int:
    """About how many values the patches of one image have, strides left out."""
    values = prod(images.shape[1:]) * prod(shape.kernel)
    return max(1, values // prod(shape.stride))


def _each(value: object, kernel: tuple[int, ...]) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return tuple(int(v) for v in (given if len(given) == len(kernel) else given * len(kernel)))
