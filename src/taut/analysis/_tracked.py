"""Which tracked weight a tensor's values come from: the weight, a view of it, or a copy of one.

A view is known by the memory that it shares with the weight, and by its strides: `w[e]`, `w.T`,
chunks and `view` need no list of functions. Copies are followed where they keep the layout
(`contiguous`, `to`), or take matrices by their numbers (`w[ids]`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from taut.analysis._terms import Layer, Whole


@dataclass
class Tracked:
    """A weight matrix, the names it goes by, and what was seen of it.

    `width` is how many values, one after the other, are a row; None before the first use.
    """

    names: tuple[str, ...]
    weight: torch.Tensor
    stage: int | None = None
    layers: dict[tuple[object, ...], Layer] = field(default_factory=dict)
    whole: Whole | None = None
    width: int | None = None
    apart: bool | None = None  # outputs of several axes fall into matrices, as gradients told
    idle: bool = False  # no use of it was met
    changed: bool = False  # an input was changed in place after its use, and could not be kept

    @property
    def height(self) -> int:
        """How many rows the weight has: those of its first use, or its first axis."""
        return self.weight.numel() // self.width if self.width else self.weight.shape[0]

    @property
    def count(self) -> int:
        """How many real values the weight has: two for each complex one."""
        return self.weight.numel() * (2 if self.weight.is_complex() else 1)

    def used(self) -> list[Layer]:
        """What was seen of it that has any live position."""
        return [layer for layer in self.layers.values() if layer.reached]


@dataclass(frozen=True)
class Sight:
    """Where a tensor's values lie in a weight: `offset` and `strides` count values, in order.

    With `numbers` (int64, of any shape) the tensor's first axes are theirs: the weight's values
    from `offset` + number * `step`; `shape` and `strides` are those of the axes after them.
    """

    owner: Tracked
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    numbers: torch.Tensor | None = None
    step: int = 0

    @property
    def numbered(self) -> int:
        """How many of the tensor's axes are those of `numbers`."""
        return 0 if self.numbers is None else self.numbers.ndim

    @property
    def in_order(self) -> bool:
        """Whether the values lie in the weight one after the other, without holes."""
        expected = tuple(prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        known = zip(self.shape, self.strides, expected, strict=True)
        return self.numbers is None and all(size == 1 or s == e for size, s, e in known)


class TrackedWeights:
    """Finds the tracked weight that a tensor is, or is a view or copy of."""

    def __init__(self, tracked: Iterable[Tracked]) -> None:
        self.tracked = list(tracked)
        self._lying: dict[int, list[Tracked]] = {}
        for one in self.tracked:
            if one.weight.is_complex():  # its whole gradient is taken, as pairs of reals
                continue
            self._lying.setdefault(_place(one.weight), []).append(one)
        self._copies: dict[int, tuple[torch.Tensor, Sight]] = {}

    def find(self, tensor: torch.Tensor) -> Sight | None:
        """Where the tensor's values lie in a weight; None if they are not a weight's."""
        place = _place(tensor)
        for one in self._lying.get(place, ()):
            if (sight := _sight(one, tensor)) is not None:
                return sight
        copied = self._copies.get(place)
        return None if copied is None else _of_copy(*copied, tensor)

    def owners(self, tensors: Iterable[torch.Tensor]) -> list[Tracked]:
        """The weights that are among these tensors."""
        sights = map(self.find, tensors)
        return list({id(s.owner): s.owner for s in sights if s is not None}.values())

    def copied(
        self, function: Callable[..., object], args: Sequence[object], result: object
    ) -> bool:
        """Remember the result if the call copied a weight's values; whether it did."""
        import torch

        given = args[0] if args else None
        if not isinstance(given, torch.Tensor) or not isinstance(result, torch.Tensor):
            return False
        source = self.find(given)
        if source is None or self.find(result) is not None:
            return source is not None
        if function in _copying() and result.shape == given.shape:
            sight: Sight | None = source
        else:
            sight = _picked(source, _numbers(function, args))
        if sight is not None:  # the copy is held so that no other gets its memory
            self._copies[_place(result)] = (result, sight)
        return sight is not None

    def forget(self) -> None:
        """Drop the copies of a run."""
        self._copies.clear()


def tensors_of(args: Sequence[object], kwargs: Mapping[str, object]) -> list[torch.Tensor]:
    """Tensors among the arguments, and in lists of them."""
    import torch

    found = []
    for value in (*args, *kwargs.values()):
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, torch.Tensor):
                found.append(part)
    return found


def ordinary(tensor: torch.Tensor) -> bool:
    """Whether a tensor is values in memory: not sparse, nested or in torch.func's transforms."""
    import torch

    held = torch._C._has_storage(tensor) and tensor.device.type != "meta"
    return held and tensor.layout is torch.strided and not tensor.is_nested


def _place(tensor: torch.Tensor) -> int:
    """The address of a tensor's memory; -1 if it has none of its own."""
    if not ordinary(tensor):
        return -1
    return tensor.untyped_storage().data_ptr() or -1


def _sight(one: Tracked, tensor: torch.Tensor) -> Sight | None:
    weight = one.weight
    offset = int(tensor.storage_offset()) - int(weight.storage_offset())
    shape, strides = tuple(tensor.shape), tensor.stride()
    if tensor.dtype != weight.dtype or not tensor.numel():
        return None
    if not weight.is_contiguous():
        return _of_scattered(one, offset, shape, strides)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    return Sight(one, offset, shape, strides) if offset >= 0 and last < weight.numel() else None


def _of_scattered(
    one: Tracked, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Sight | None:
    """Of a weight that does not lie in order: all of it, its axes in any order."""
    weight = one.weight
    axes = list(zip(weight.shape, weight.stride(), strict=True))
    if offset or sorted(zip(shape, strides, strict=True)) != sorted(axes):
        return None
    if len({axis for axis in axes if axis[0] > 1}) < sum(size > 1 for size, _ in axes):
        return None
    ordered = [prod(weight.shape[axis + 1 :]) for axis in range(weight.ndim)]
    places = (axes.index(axis) for axis in zip(shape, strides, strict=True))
    return Sight(one, 0, shape, tuple(ordered[place] for place in places))


def _of_copy(copy: torch.Tensor, source: Sight, tensor: torch.Tensor) -> Sight | None:
    """Where a copy, or a view of one, has its values from; None unless its axes are the copy's."""
    if tensor is copy:
        return source
    if not copy.is_contiguous() or tensor.dtype != copy.dtype:
        return None
    routes = source.numbered
    axes, wanted = (list(zip(t.shape, t.stride(), strict=True)) for t in (copy, tensor))
    at = int(tensor.storage_offset()) - int(copy.storage_offset())
    if wanted[:routes] != axes[:routes] or any(at >= step for _, step in axes[:routes]):
        return None
    return _within(source, axes[routes:], wanted[routes:], at)


def _within(
    source: Sight, axes: Sequence[tuple[int, int]], wanted: Sequence[tuple[int, int]], at: int
) -> Sight | None:
    """A view of a copy that begins at `at`; axes are sizes and strides, the copy's and its own."""
    offset, known = source.offset, {0: 0}  # the copy's strides to the weight's
    for (size, step), mine in zip(axes, source.strides, strict=True):
        if size > 1:
            offset, at, known[step] = offset + at // step * mine, at % step, mine
    found = [0 if size == 1 else step for size, step in wanted]
    if not {*found} <= {*known}:
        return None
    strides = tuple(known[step] for step in found)
    return replace(source, offset=offset, shape=tuple(size for size, _ in wanted), strides=strides)


@cache
def _copying() -> tuple[Callable[..., object], ...]:
    import torch
    from torch import Tensor

    return (
        Tensor.contiguous, Tensor.clone, torch.clone, Tensor.to, Tensor.float, Tensor.double,
        Tensor.half, Tensor.bfloat16, Tensor.type_as, Tensor.cpu, Tensor.cuda,
    )  # fmt: skip


def _numbers(function: Callable[..., object], args: Sequence[object]) -> torch.Tensor | None:
    """The numbers by which a call takes parts along the first axis; None if it does not."""
    import torch
    from torch import Tensor

    selecting = function in (torch.index_select, Tensor.index_select)
    match args:
        case (_, (Tensor() as index,)) | (_, Tensor() as index) if function is Tensor.__getitem__:
            pass
        case (_, int(axis), Tensor() as index) if selecting and axis == 0:
            pass
        case _:
            return None
    return index if index.dtype in (torch.int64, torch.int32) else None


def _picked(source: Sight, numbers: torch.Tensor | None) -> Sight | None:
    if numbers is None or source.numbers is not None or not source.shape:
        return None
    return replace(
        source,
        shape=source.shape[1:],
        strides=source.strides[1:],
        numbers=numbers.detach().long() % source.shape[0],
        step=source.strides[0],
    )
