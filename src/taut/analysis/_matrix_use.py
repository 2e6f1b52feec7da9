"""How a product uses a weight: which of its stored values are a matrix, and what that is given.

The weight is taken as rows of `width` values as they are stored. One class of its axes, the inputs
or the outputs, lies within the rows; the other numbers rows. Axes that the inputs, the weight and
the outputs all have number matrices, as experts do: each has rows, inputs and gradients of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from itertools import product as combinations
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.analysis._block import Block, Piece
from taut.analysis._contractions import Contraction, Labels
from taut.analysis._operands import Axis, Operands, operands_of
from taut.analysis._tracked import Sight

if TYPE_CHECKING:
    import torch

_ROUTED: Final = 0.75  # of the positions of which it has any, a part of the outputs has a gradient


@dataclass(frozen=True)
class MatrixUse:
    """How a product uses a weight.

    `width` is the length of a row, `swapped` says that rows take inputs. `slices` number matrices,
    `rows` the rows of one, and `columns` lie within a row.
    """

    of: Operands
    width: int
    swapped: bool
    slices: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]

    @property
    def routed(self) -> bool:
        """Whether the weight holds several matrices, of which each has inputs of its own."""
        return bool(self.of.routes) or any(axis.kind == "batch" for axis in self.slices)

    def pieces(self, inputs: torch.Tensor, gradient: torch.Tensor) -> Iterator[Piece]:
        """What each matrix was given, and the gradient of what it put out."""
        taking, giving = (self.rows, self.columns) if self.swapped else (self.columns, self.rows)
        g = self._arranged(gradient, self.of.output, giving)
        if self._falls_apart(g):
            split = replace(self, slices=(*self.slices, self.rows[0]), rows=self.rows[1:])
            yield from split.pieces(inputs, gradient)
            return
        x = self._arranged(inputs, self.of.labels, taking)
        for offset, chosen in self._matrices():
            some_x, some_g = x[chosen], g[chosen]
            for number in combinations(*(range(axis.size) for axis in self.slices)):
                at = offset + sum(i * a.stride for i, a in zip(number, self.slices, strict=True))
                yield self._block(at), _taken(some_x, number), _taken(some_g, number)

    def _falls_apart(self, gradient: torch.Tensor) -> bool:
        """Whether outputs of several axes are those of experts, each for some of the positions.

        So it is if every expert is given every input, and what is not routed to it is thrown away.
        """
        owner = self.of.sight.owner
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
        height = self.of.sight.owner.weight.numel() // self.width
        every = np.array_equal(rows, np.arange(height))
        whole = np.array_equal(columns, np.arange(self.width))
        return Block(None if every else rows, None if whole else columns)

    def _matrices(self) -> Iterator[tuple[int, slice | torch.Tensor]]:
        """Where a matrix begins in the weight, and which of the routed positions it was given."""
        import torch

        sight, offsets = self.of.sight, self.of.offsets
        if offsets is not None:
            ends = [0, *offsets.tolist()]
            for number, (start, end) in enumerate(pairwise(ends)):
                if end > start:
                    yield sight.offset + number * sight.strides[0], slice(start, end)
        elif sight.numbers is not None:
            flat = sight.numbers.reshape(-1)
            for number in torch.unique(flat).tolist():
                yield sight.offset + number * sight.step, (flat == number).nonzero()[:, 0]
        else:
            yield sight.offset, slice(None)

    def _arranged(self, values: torch.Tensor, labels: Labels, last: Sequence[Axis]) -> torch.Tensor:
        """Axes in order: routed positions, each slice, other positions, and inputs or outputs."""
        routes = self.of.routes
        slices, ends = ([axis.label for axis in axes] for axes in (self.slices, last))
        rest = self._positions({*routes, *slices, *ends}, labels)
        order = [label for label in (*routes, *slices, *rest, *ends) if label in labels]
        held = values.permute([labels.index(label) for label in order])
        sizes = dict(zip(labels, values.shape, strict=True))
        return held.reshape(
            prod(sizes[label] for label in routes),
            *(sizes.get(label, 1) for label in slices),
            prod(sizes[label] for label in rest),
            prod(axis.size for axis in last),
        )

    def _positions(self, named: set[int], labels: Labels) -> list[int]:
        """Of these labels those that are not named, in an order that serves inputs and outputs."""
        every = dict.fromkeys((*self.of.labels, *self.of.output))
        return [label for label in every if label in labels and label not in named]


def matrix_use(
    product: Contraction, sight: Sight, *, second: bool, widest: int
) -> MatrixUse | None:
    """How a product uses a weight, its first or its second operand; None if it is not followed.

    Of several axes that number rows those are made matrices of their own that would make more than
    `widest` rows.
    """
    of = operands_of(product, sight, second=second)
    if of is None:
        return None
    width = sight.owner.width or _width(of.axes, sight)
    columns = tuple(axis for axis in of.axes if axis.stride < width)
    others = tuple(axis for axis in of.axes if axis.stride >= width)
    within = _within(columns, others)
    if within == "batch" or not _fits(of, columns, others, width):
        return None
    slices, rows = _split(others, within, widest)
    return MatrixUse(of, width, within == "out", slices, rows, columns)


def _within(columns: Sequence[Axis], others: Sequence[Axis]) -> str:
    """Whether inputs or outputs lie within a row; "batch" if it holds several matrices."""
    kinds = {axis.kind for axis in columns}
    if not kinds:
        return "out" if {axis.kind for axis in others} == {"in"} else "in"
    return kinds.pop() if len(kinds) == 1 else "batch"


def _split(
    axes: Sequence[Axis], within: str, widest: int
) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Axes that number matrices, and those that number the rows of one."""
    rows = [axis for axis in axes if axis.kind not in (within, "batch")]
    slices = [axis for axis in axes if axis.kind in (within, "batch")]
    while len(rows) > 1 and prod(axis.size for axis in rows) > widest:
        slices.append(rows.pop(0))
    return tuple(slices), tuple(rows)


def _width(axes: Sequence[Axis], sight: Sight) -> int:
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


def _fits(of: Operands, columns: Sequence[Axis], others: Sequence[Axis], width: int) -> bool:
    """Whether all axes lie within rows, or number whole rows."""
    weight, sight = of.sight.owner.weight, of.sight
    if (weight.numel() // weight.shape[0]) % width:  # rows lie within the first axis, as in files
        return False
    reach = sight.offset % width + sum((axis.size - 1) * axis.stride for axis in columns)
    steps = [axis.stride for axis in others] + [sight.step]
    steps += [sight.strides[0]] if of.offsets is not None else []
    return reach < width and all(step % width == 0 for step in steps)


def _grid(axes: Sequence[Axis], unit: int) -> NDArray[np.int64]:
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
