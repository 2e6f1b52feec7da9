"""A product seen from its weight: what each of the weight's axes is to inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.analysis._contractions import Contraction, Labels
from taut.analysis._tracked import Sight

if TYPE_CHECKING:
    import torch

_KINDS: Final = {(True, True): "batch", (True, False): "in", (False, True): "out"}


@dataclass(frozen=True)
class Axis:
    """An axis of the weight; `kind` is "in", "out" or "batch", `stride` counts values."""

    label: int
    size: int
    stride: int
    kind: str


@dataclass(frozen=True)
class Operands:
    """A weight and its inputs; a label for each axis of the inputs and of the output.

    `routes` are the labels of the axes that say which matrix each position is given to: by numbers
    that the weight was picked by, or in runs that end at `offsets`. `axes` are the weight's others,
    the widest strides first, those of one value left out.
    """

    sight: Sight
    inputs: torch.Tensor
    labels: Labels
    output: Labels
    routes: Labels
    axes: tuple[Axis, ...]
    offsets: torch.Tensor | None


def operands_of(product: Contraction, sight: Sight, *, second: bool) -> Operands | None:
    """A product with a weight as its first or second operand; None if it is not followed."""
    runs = product.offsets is not None
    if runs and (sight.numbers is not None or not second):
        return None
    inputs = (product.second, product.first)[second]
    weight, labels = product.labels[:: -1 if second else 1]
    known = zip(weight[sight.numbered :], sight.shape, sight.strides, strict=True)
    axes = _axes([*known][runs:], labels, product.output)
    if axes is None:
        return None
    routes = labels[:1] if runs else weight[: sight.numbered]
    found = Operands(sight, inputs, labels, product.output, routes, axes, product.offsets)
    return found if _routed(found) and _meets(found) else None


def _axes(
    known: Sequence[tuple[int, int, int]], labels: Labels, output: Labels
) -> tuple[Axis, ...] | None:
    """Axes of more than one value, of labels, sizes and strides; None: one is odd."""
    found = []
    for label, size, stride in known:
        kind = _KINDS.get((label in labels, label in output), "")
        # A stride of zero: the same matrix for each of these positions.
        if size == 1 or (stride == 0 and kind == "batch"):
            continue
        if not kind or stride == 0:
            return None
        found.append(Axis(label, size, stride, kind))
    return tuple(sorted(found, key=lambda axis: -axis.stride))


def _routed(of: Operands) -> bool:
    """Whether inputs and outputs have the axes of the numbers that the weight was picked by."""
    if not {*of.routes} <= {*of.labels} & {*of.output}:
        return False
    if of.sight.numbers is None:
        return True
    sizes = dict(zip(of.labels, of.inputs.shape, strict=True))
    return [sizes[label] for label in of.routes] == [*of.sight.numbers.shape]


def _meets(of: Operands) -> bool:
    """Whether inputs and outputs have the same positions: nothing is summed beside the weight."""
    sizes = dict(zip(of.labels, of.inputs.shape, strict=True))
    kept = {*of.output, *(axis.label for axis in of.axes)}
    if any(size > 1 and label not in kept for label, size in sizes.items()):
        return False
    return all(sizes.get(axis.label, axis.size) == axis.size for axis in of.axes)
