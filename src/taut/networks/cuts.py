"""Cuts a batch into smaller ones, along the axis that counts its samples.

Surprise: shapes alone do not tell samples from time steps or states, so that a cut is believed only
where the network gives for the parts what it gives for the whole. Else a batch stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run, samples_of
from taut.networks.outputs import find_target

if TYPE_CHECKING:
    import torch

_CLOSE: Final = 1e-3  # of the largest output; sums in another order differ by far less
_CLOSE_NARROW: Final = 3e-2  # in half precision
_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Cut:
    """`count` samples lie along an axis of each tensor; None for one that all samples share."""

    count: int
    axes: tuple[int | None, ...]

    def pieces(self, batch: object, pieces: int) -> list[object]:
        """The batch in up to so many pieces of about as many samples."""
        pieces = min(pieces, self.count)
        bounds = [self.count * i // pieces for i in range(pieces + 1)]
        return [self._piece(batch, a, b) for a, b in pairwise(bounds)]

    def _piece(self, batch: object, a: int, b: int) -> object:
        axes = iter(self.axes)

        def narrowed(tensor: torch.Tensor) -> torch.Tensor:
            axis = next(axes)
            return tensor if axis is None else tensor.narrow(axis, a, b - a)

        return mapped(batch, narrowed)


def find_cut(batch: object, network: torch.nn.Module) -> Cut | None:
    """How a batch may be cut, or None: tried on the network, in evaluation mode."""
    import torch

    if not _is_open(batch):
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(network):
        cuts = [*_cuts(tensors(batch))]
        whole = _output(network, batch) if cuts else None
        for cut in cuts if whole is not None else ():
            parts = [_output(network, piece) for piece in cut.pieces(batch, 2)]
            if _is_whole(parts, whole):
                return cut
    return None


def first_sample(batch: object, count: int = 1, *, begin: int = 0) -> object:
    """The first of a batch's samples, which its tensors have along their first axes.

    Or `count` of them from another one on.
    """
    import torch

    most = samples_of(batch)

    def some(one: torch.Tensor) -> torch.Tensor:
        dense = one.layout == torch.strided and not one.is_nested
        return one[begin : begin + count] if dense and one.ndim and len(one) == most else one

    return mapped(batch, some)


def cut_of_samples(batch: object, network: torch.nn.Module) -> Cut | None:
    """The cut of a batch along its samples, by a try on the first two of them; or None."""
    import torch

    count, held = samples_of(batch), tensors(batch)
    if count < 2 or any(one.layout != torch.strided or one.is_nested for one in held):
        return None
    axes = tuple(0 if one.ndim and len(one) == count else None for one in held)
    found = find_cut(first_sample(batch, 2), network)
    return Cut(count, axes) if found is not None and found.axes == axes else None


def tensors(batch: object) -> list[torch.Tensor]:
    """All tensors of a batch, in the dicts, tuples and lists that it is made of."""
    found: list[torch.Tensor] = []
    mapped(batch, found.append)
    return found


def mapped(batch: object, change: Callable[[torch.Tensor], Any]) -> object:
    """The batch with what `change` gives in the place of each tensor, in their order."""
    import torch

    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: mapped(part, change) for name, part in batch.items()}
    if type(batch) in (tuple, list):
        parts = [mapped(part, change) for part in batch]  # type: ignore[attr-defined]
        return parts if isinstance(batch, list) else tuple(parts)
    if _is_named(batch):
        return type(batch)(*(mapped(part, change) for part in batch))  # type: ignore[attr-defined]
    return batch


def _is_named(value: object) -> bool:
    """Whether it is a named tuple, whose parts may be changed one by one."""
    import torch

    packed = isinstance(value, torch.nn.utils.rnn.PackedSequence)  # lengths go with the values
    return isinstance(value, tuple) and hasattr(value, "_fields") and not packed


def _is_open(batch: object) -> bool:
    """Whether all that a batch is made of is known: no object that may hold samples too."""
    import torch

    if isinstance(batch, Mapping):
        return all(map(_is_open, batch.values()))
    if type(batch) in (tuple, list) or _is_named(batch):
        return all(map(_is_open, batch))  # type: ignore[call-overload]
    return isinstance(batch, (torch.Tensor, *_PLAIN))


def _cuts(parts: Sequence[torch.Tensor]) -> Iterator[Cut]:
    """Cuts that the shapes allow: along the first axis, then along the second."""
    import torch

    shapes = [tuple(one.shape) if one.layout == torch.strided else () for one in parts]
    tried = set()
    for axis in (0, 1):
        for count in dict.fromkeys(shape[axis] for shape in shapes if len(shape) > axis):
            axes = tuple(_axis(shape, count, axis) for shape in shapes)
            if count > 1 and axes not in tried:
                tried.add(axes)
                yield Cut(count, axes)


def _axis(shape: tuple[int, ...], count: int, first: int) -> int | None:
    """The axis of so many samples: the one asked for, or else the first that there is."""
    if len(shape) > first and shape[first] == count:
        return first
    return shape.index(count) if count in shape else None


def _output(network: torch.nn.Module, batch: object) -> torch.Tensor | None:
    try:
        return find_target(run(network, batch, "a part of a batch"), "auto", lambda _: ()).tensor
    except ArgumentError:
        return None


def _is_whole(parts: list[torch.Tensor | None], whole: torch.Tensor | None) -> bool:
    """Whether the parts are the whole, laid side by side along one of its axes."""
    found = [one for one in parts if one is not None]
    if whole is None or len(found) < len(parts) or any(one.ndim != whole.ndim for one in found):
        return False
    most = _most(whole)
    return any(
        _add_up(found, whole, axis) and _farthest(found, whole, axis) <= most
        for axis in range(whole.ndim)
    )


def _farthest(parts: list[torch.Tensor], whole: torch.Tensor, axis: int) -> float:
    """How far the parts, side by side, lie from the whole: one after the other, as they are large.

    NaN where any value is NaN, which is no distance at all.
    """
    import torch

    begins = [0, *accumulate(one.shape[axis] for one in parts)]
    found = [
        (one - whole.narrow(axis, begin, one.shape[axis])).abs_().max()
        for one, begin in zip(parts, begins, strict=False)
        if one.numel()
    ]
    return float(torch.stack(found).max()) if found else 0.0


def _most(whole: torch.Tensor) -> float:
    """How far a sum in another order may lie from an output."""
    import torch

    narrow = whole.dtype in (torch.float16, torch.bfloat16)
    largest = float(whole.abs().max()) if whole.numel() else 0.0
    return (_CLOSE_NARROW if narrow else _CLOSE) * largest


def _add_up(parts: list[torch.Tensor], whole: torch.Tensor, axis: int) -> bool:
    """Whether the shapes of the parts make up that of the whole."""
    others = {(*one.shape[:axis], *one.shape[axis + 1 :]) for one in (whole, *parts)}
    return len(others) == 1 and sum(one.shape[axis] for one in parts) == whole.shape[axis]
