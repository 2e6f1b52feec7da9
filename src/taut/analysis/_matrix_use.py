"""How a product uses a weight: which of its stored values are a matrix, and what that is given.

The weight is taken as rows of `width` values as they are stored. One class of its axes, the inputs
or the outputs, lies within the rows; the other numbers rows. Axes that the inputs, the weight and
the outputs all have number matrices, as experts do: each has rows, inputs and gradients of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.analysis._block import Block, Piece
from taut.analysis._products import Labels, Product
from taut.analysis._tracked import Sight

if TYPE_CHECKING:
    import torch

_ROUTED: Final = 0.75  # of the positions of which it has any, a part of the outputs has a gradient


@dataclass(frozen=True)
class _Axis:
    """An axis of the weight; `kind` is "in", "out" or "batch", `stride` counts values."""

    label: int
    size: int
    stride: int
    kind: str


@dataclass(frozen=True)
class MatrixUse:
    """How a product uses a weight.

    `width` is the length of a row, `swapped` says that rows take inputs; `labels` are those of the
    inputs, and `routes` those of their axes that say which matrix each position is given to.
    """

    product: Product
    sight: Sight
    inputs: torch.Tensor
    labels: Labels
    routes: Labels
    width: int
    swapped: bool
    slices: tuple[_Axis, ...]
    rows: tuple[_Axis, ...]
    columns: tuple[_Axis, ...]

    @property
    def routed(self) -> bool:
        """Whether the weight holds several matrices, of which each has inputs of its own."""
        return bool(self.routes) or any(axis.kind == "batch" for axis in self.slices)

    def pieces(self, inputs: torch.Tensor, gradient: torch.Tensor) -> Iterator[Piece]:
        """What each matrix was given, and the gradient of what it put out."""
        taking, giving = (self.rows, self.columns) if self.swapped else (self.columns, self.rows)
        g = self._arranged(gradient, self.product.output, giving)
        if self._falls_apart(g):
            split = replace(self, slices=(*self.slices, self.rows[0]), rows=self.rows[1:])
            yield from split.pieces(inputs, gradient)
            return
        x = self._arranged(inputs, self.labels, taking)
        for offset, chosen in self._matrices():
            some_x, some_g = x[chosen], g[chosen]
            for number in combinations(*(range(axis.size) for axis in self.slices)):
                at = offset + sum(i * a.stride for i, a in zip(number, self.slices, strict=True))
                yield self._block(at), _taken(some_x, number), _taken(some_g, number)

    def _falls_apart(self, gradient: torch.Tensor) -> bool:
        """Whether outputs of several axes are those of experts, each for some of the positions.

        So it is if every expert is given every input, and what is not routed to it is thrown away.
        """
        owner = self.sight.owner
        if self.swapped or len(self.rows) < 2:
            return False
        if owner.apart is None:
            each = gradient.shape[-1] // self.rows[0].size
            reached = (gradient.reshape(-1, self.rows[0].size, each) != 0).any(-1)
            live = reached[reached.any(1)]
            owner.apart = bool(len(live)) and float(live.float().mean()) < _ROUTED
        return owner.apart

    def _block(self, offset: int) -> Block:
        rows = offset // self.width + _grid(self.rows, self.width)
        columns = offset % self.width + _grid(self.columns, 1)
        height = self.sight.owner.weight.numel() // self.width
        every = np.array_equal(rows, np.arange(height))
        whole = np.array_equal(columns, np.arange(self.width))
        return Block(None if every else rows, None if whole else columns)

    def _matrices(self) -> Iterator[tuple[int, slice | torch.Tensor]]:
        """Where a matrix begins in the weight, and which of the routed positions it was given."""
        import torch

        begin, numbers = self.sight.offset, self.sight.numbers
        if self.product.offsets is not None:
            start = 0
            for number, end in enumerate(self.product.offsets.tolist()):
                if end > start:
                    yield begin + number * self.sight.strides[0], slice(start, end)
                start = end
        elif numbers is not None:
            flat = numbers.reshape(-1)
            for number in torch.unique(flat).tolist():
                yield begin + number * self.sight.step, (flat == number).nonzero()[:, 0]
        else:
            yield begin, slice(None)

    def _arranged(
        self, values: torch.Tensor, labels: Labels, last: Sequence[_Axis]
    ) -> torch.Tensor:
        """Axes in order: routed positions, each slice, other positions, and inputs or outputs."""
        slices, ends = ([axis.label for axis in axes] for axes in (self.slices, last))
        named = {*self.routes, *slices, *ends}
        every = dict.fromkeys((*self.labels, *self.product.output))
        rest = [label for label in every if label in labels and label not in named]
        order = [*self.routes, *slices, *rest, *ends]
        held = values.permute([labels.index(label) for label in order if label in labels])
        sizes = dict(zip(labels, values.shape, strict=True))
        return held.reshape(
            prod(sizes[label] for label in self.routes),
            *(sizes.get(label, 1) for label in slices),
            prod(sizes[label] for label in rest),
            prod(axis.size for axis in last),
        )


def matrix_use(product: Product, sight: Sight, *, second: bool, widest: int) -> MatrixUse | None:
    """How a product uses a weight, its first or its second operand; None if it is not followed.

    Of several axes that number rows those are made matrices of their own that would make more than
    `widest` rows.
    """
    inputs = product.first if second else product.second
    labels, weight = product.labels if second else product.labels[::-1]
    if product.offsets is not None and (not second or sight.numbers is not None):
        return None
    routes = labels[:1] if product.offsets is not None else weight[: _numbered(sight)]
    axes = _axes(product, sight, labels, weight)
    if axes is None or not _meets(product, labels, routes, axes, sight, inputs):
        return None
    width = sight.owner.width or _width(axes, sight)
    columns = tuple(axis for axis in axes if axis.stride < width)
    others = [axis for axis in axes if axis.stride >= width]
    kinds = {axis.kind for axis in columns}
    if len(kinds) > 1 or "batch" in kinds or not _fits(columns, others, product, sight, width):
        return None
    within = next(iter(kinds), "out" if {axis.kind for axis in others} == {"in"} else "in")
    rows = [axis for axis in others if axis.kind not in (within, "batch")]
    slices = [axis for axis in others if axis.kind in (within, "batch")]
    while len(rows) > 1 and prod(axis.size for axis in rows) > widest:
        slices.append(rows.pop(0))
    return MatrixUse(
        product, sight, inputs, labels, routes, width, within == "out",
        tuple(slices), tuple(rows), columns,
    )  # fmt: skip


def _numbered(sight: Sight) -> int:
    return 0 if sight.numbers is None else sight.numbers.ndim


def _axes(product: Product, sight: Sight, labels: Labels, weight: Labels) -> list[_Axis] | None:
    """The weight's axes of more than one value, the widest strides first; None: one is odd."""
    known = list(zip(weight[_numbered(sight) :], sight.shape, sight.strides, strict=True))
    found = []
    for label, size, stride in known[product.offsets is not None :]:
        if size == 1:
            continue
        kinds = {(True, True): "batch", (True, False): "in", (False, True): "out"}
        kind = kinds.get((label in labels, label in product.output))
        if stride == 0 and kind == "batch":  # the same matrix for each of these positions
            continue
        if kind is None or stride == 0:
            return None
        found.append(_Axis(label, size, stride, kind))
    return sorted(found, key=lambda axis: -axis.stride)


def _meets(
    product: Product,
    labels: Labels,
    routes: Labels,
    axes: Sequence[_Axis],
    sight: Sight,
    inputs: torch.Tensor,
) -> bool:
    """Whether inputs and outputs have the same positions: nothing is summed beside the weight."""
    if not {*routes} <= {*labels} & {*product.output}:
        return False
    sizes = dict(zip(labels, inputs.shape, strict=True))
    kept = {*product.output, *(axis.label for axis in axes)}
    if any(size > 1 and label not in kept for label, size in sizes.items()):
        return False
    if any(sizes.get(axis.label, axis.size) != axis.size for axis in axes):
        return False
    numbers = None if sight.numbers is None else [*sight.numbers.shape]
    return numbers is None or [sizes[label] for label in routes] == numbers


def _width(axes: Sequence[_Axis], sight: Sight) -> int:
    """The length of a row: the stride of the first axis of another kind, or behind a hole."""
    shape = sight.owner.weight.shape
    end, kind = 1, ""
    for axis in reversed(axes):
        if kind and (axis.kind != kind or axis.stride != end):
            return axis.stride
        if axis.stride != end:
            break
        end, kind = axis.stride * axis.size, axis.kind
    return prod(shape[1:]) if len(shape) == 2 else int(shape[-1])


def _fits(
    columns: Sequence[_Axis],
    others: Sequence[_Axis],
    product: Product,
    sight: Sight,
    width: int,
) -> bool:
    """Whether all axes lie within rows, or number whole rows."""
    weight = sight.owner.weight
    if (weight.numel() // weight.shape[0]) % width:  # rows lie within the first axis, as in files
        return False
    reach = sight.offset % width + sum((axis.size - 1) * axis.stride for axis in columns)
    steps = [axis.stride for axis in others] + [sight.step]
    steps += [sight.strides[0]] if product.offsets is not None else []
    return reach < width and all(step % width == 0 for step in steps)


def _grid(axes: Sequence[_Axis], unit: int) -> NDArray[np.int64]:
    """Numbers of rows, or columns, that the axes reach, the first axis slowest."""
    numbers = np.zeros(1, np.int64)
    for axis in axes:
        steps = np.arange(axis.size, dtype=np.int64) * (axis.stride // unit)
        numbers = (numbers[:, None] + steps).reshape(-1)
    return numbers


def _taken(values: torch.Tensor, number: Sequence[int]) -> torch.Tensor:
    """Positions of one slice, (N, width); an axis that the tensor does not have counts once."""
    for one in number:
        values = values[:, one if values.shape[1] > 1 else 0]
    return values.reshape(-1, values.shape[-1])
