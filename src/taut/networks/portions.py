"""Calibration batches in two portions: those to tune on, and those set aside to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from taut.networks.calls import outline
from taut.networks.cuts import Cut, cut_of_samples, find_cut, tensors

if TYPE_CHECKING:
    import torch

Batches: TypeAlias = Iterable[object] | Callable[[], Iterable[object]]

_HELD: Final = 1 << 30  # bytes of batches held in memory at most
_FEWEST: Final = 10  # batches; fewer are cut, where they can be
MANY: Final = 2048
"""Numbers in a batch's first tensor: of words, the output may be larger by far."""

_JUDGES: Final = 32  # samples to judge by, even if they are more than a tenth


class Portion(list[object]):
    """Some of the caller's batches or parts of them; `numbers` are the caller's, from 1."""

    def __init__(self, batches: Iterable[object], numbers: Iterable[int]) -> None:
        super().__init__(batches)
        self.numbers = tuple(numbers)

    def of(self, indices: Iterable[int]) -> Portion:
        """Those at these indices.

        >>> Portion("abc", [1, 1, 2]).of([0, 2]).numbers
        (1, 2)
        """
        chosen = [*indices]
        return Portion([self[i] for i in chosen], [self.numbers[i] for i in chosen])


def hold(batches: Batches, network: torch.nn.Module, *, cut: bool = True) -> tuple[Portion, str]:
    """Return the batches, and a note if some were left out.

    Where they are few they are cut up, if `network` gives for the parts what it does for the whole.
    With `cut` False they stay as they are: a graph may take so many samples at once, and no fewer.
    """
    held, left = _within(batches() if callable(batches) else batches)
    note = f"the first {len(held)} batches are used: {left} more are over 1 GiB" if left else ""
    pieces = parts_of_a_batch(len(held))
    if cut and pieces > 1:
        found = [*_cut_up(held, pieces, network)]
        return Portion([one for _, one in found], [number for number, _ in found]), note
    return Portion(held, range(1, len(held) + 1)), note


def parts_of_a_batch(batches: int) -> int:
    """In how many parts each of so many batches is cut, where it can be.

    >>> parts_of_a_batch(3), parts_of_a_batch(16)
    (4, 1)
    """
    return -(-_FEWEST // batches) if 0 < batches < _FEWEST else 1


def _cut_up(
    batches: list[object], pieces: int, network: torch.nn.Module
) -> Iterator[tuple[int, object]]:
    found: dict[str, Cut | None] = {}  # by shapes: what one batch allows, its likes allow
    for number, batch in enumerate(batches, 1):
        shapes = outline(batch)
        if shapes not in found:
            found[shapes] = _cut_of(batch, network)
        cut = found[shapes]
        parts = [batch] if cut is None else cut.pieces(batch, pieces)
        yield from ((number, part) for part in parts)


def _cut_of(batch: object, network: torch.nn.Module) -> Cut | None:
    """How a batch may be cut: of a large one by its first samples, for its output may be huge."""
    numbers = next((one.numel() for one in tensors(batch)), 0)
    cut = cut_of_samples(batch, network) if numbers >= MANY and samples(batch) > 2 else None
    return cut or find_cut(batch, network)


def _within(batches: Iterable[object]) -> tuple[list[object], int]:
    """The batches that fit into `_HELD` bytes, at least one, and how many were left out."""
    held: list[object] = []
    size, left = 0, 0
    for batch in batches:
        size += sum(part.numel() * part.element_size() for part in tensors(batch))
        if size > _HELD and held:
            left += 1
        else:
            held.append(batch)
    return held, left


def split(batches: list[object], seed: int) -> tuple[list[int], list[int]]:
    """Return which batches to tune on, and which to judge by: one of each few of like length.

    A tenth are set aside, and up to a quarter where a tenth are few samples; two of five and more,
    so that one can prove what was chosen by the other; of a single batch none is.

    >>> import torch
    >>> tuned, judges = split([torch.zeros(8, length) for length in range(20)], seed=0)
    >>> len(tuned), len(judges), set(tuned) & set(judges)
    (16, 4, set())
    """
    count = len(batches)
    if count < 2:
        return list(range(count)), []
    wanted = -(-_JUDGES * count // max(1, sum(map(samples, batches))))
    aside = min(max(-(-count // 10), wanted), max(2 if count > 4 else 1, count // 4))
    order = sorted(range(count), key=lambda i: _length(batches[i]))
    rng = np.random.default_rng(seed)
    bounds = [count * i // aside for i in range(aside + 1)]
    judges = sorted(order[int(rng.integers(a, b))] for a, b in pairwise(bounds))
    return [i for i in range(count) if i not in set(judges)], judges


def samples(batch: object) -> int:
    """The first axis of the first tensor; a batch without one is one sample."""
    return next((int(part.shape[0]) for part in tensors(batch) if part.ndim), 1)


def _length(batch: object) -> int:
    """Numbers in one sample's first tensor: texts by tokens."""
    return next((prod(part.shape[1:]) for part in tensors(batch) if part.ndim and len(part)), 0)
