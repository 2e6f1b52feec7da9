"""In which order units of channels go, and how many of each group may."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import lcm
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from taut.errors import ArgumentError
from taut.transform.channel_group import ChannelGroup

if TYPE_CHECKING:
    import torch

Chosen: TypeAlias = Mapping[str, Sequence[int]]  # units to go, by group


@dataclass(frozen=True)
class Order:
    """Choices of more and more units, as a sequence: none first, all that may go last.

    `ranked` are each group's units, the least important first, as many as may go. `steps` are the
    groups that lose one more, in order, those of one tuple at once. What is left of a group that
    lost some is a multiple of `multiple` units. Where every group gives the same fraction, `shares`
    are those that the steps take it to.
    """

    groups: Mapping[str, ChannelGroup]
    ranked: Mapping[str, Sequence[int]]
    steps: Sequence[Sequence[str]]
    multiple: Mapping[str, int]
    shares: Sequence[float] = ()

    def __len__(self) -> int:
        """How many choices there are."""
        return len(self.steps) + 1

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        """The units to go, by group."""
        counts = dict.fromkeys(self.groups, 0)
        for step in self.steps[:place]:
            for name in step:
                counts[name] += 1
        return {name: list(self.ranked[name][: self._whole(name, n)]) for name, n in counts.items()}

    def _whole(self, name: str, count: int) -> int:
        """The most units, up to `count`, that leave a multiple."""
        units = len(self.groups[name].units)
        left = -(-(units - count) // self.multiple[name]) * self.multiple[name]
        return max(0, units - left)

    def removed(self, place: int) -> float:
        """The fraction of all channels that go."""
        gone = sum(len(units) * self.groups[name].unit for name, units in self[place].items())
        return gone / sum(one.channels for one in self.groups.values())

    @property
    def largest(self) -> str:
        """The group with the most channels."""
        return max(self.groups, key=lambda name: self.groups[name].channels)

    @property
    def first(self) -> str:
        """The group that gives first."""
        return next(iter(self.steps), (self.largest,))[0]

    def fraction(self, value: float) -> dict[str, list[int]]:
        """The choice of the most channels up to this fraction of them.

        Raises:
            ArgumentError: a layer would be left without channels, or no channel would go.
        """
        last = len(self) - 1
        if self.shares:
            place = bisect.bisect_right(self.shares, value + 1e-9)
        else:
            most = self.removed(last)
            if value > most + 1e-9 and max(self.multiple.values()) == 1:
                name = min(self.groups, key=lambda name: len(self.groups[name].units))
                raise ArgumentError(
                    f"channels: fraction: {value:g} would leave "
                    f'"{name}" without channels; the nearest that works: {most:.4f}'
                )
            place = bisect.bisect_right(range(last + 1), value + 1e-9, key=self.removed) - 1
        if place < 1 or not any(self[place].values()):
            least = next(self.removed(n) for n in range(1, last + 1) if self.removed(n) > 0)
            raise ArgumentError(
                f'channels: fraction: {value:g} removes nothing, not even of "{self.largest}"; '
                f"the nearest that works: {least:.4f}"
            )
        return self[place]


def make_order(
    groups: Mapping[str, ChannelGroup],
    scores: Mapping[str, torch.Tensor],
    *,
    round_to: int | None = None,
    global_: bool = True,
) -> Order:
    """Order all units by importance, or those of each group alone and then all groups in step.

    Raises:
        ArgumentError: no count of some group's channels is a multiple of `round_to`.
    """
    multiple = {name: _multiple(group, round_to) for name, group in groups.items()}
    ranked: dict[str, list[int]] = {}
    moves: list[tuple[float, str]] = []  # when a group loses one more: at a score, or a share
    for name, group in groups.items():
        ordered = scores[name].argsort(stable=True).tolist()
        ranked[name] = ordered[: len(group.units) - multiple[name]]
        values = scores[name][ordered].tolist()
        for number in range(len(ranked[name])):
            at = values[number] if global_ else (number + 1) / len(group.units)
            moves.append((at, name))
    moves.sort(key=itemgetter(0))
    steps, shares = ([[name] for _, name in moves], []) if global_ else _in_step(moves)
    if not steps:
        raise ArgumentError(
            f"channels: round_to: {round_to} leaves nothing to remove: "
            f'"{next(iter(groups))}" has {next(iter(groups.values())).channels} channels'
        )
    return Order(groups, ranked, steps, multiple, shares)


def _in_step(moves: Sequence[tuple[float, str]]) -> tuple[list[list[str]], list[float]]:
    """The groups that lose one more at once, and the share of channels that this takes them to."""
    together = [(share, list(run)) for share, run in groupby(moves, key=itemgetter(0))]
    return [[name for _, name in run] for _, run in together], [share for share, _ in together]


def _multiple(group: ChannelGroup, round_to: int | None) -> int:
    """The number of units of which what is left must be a multiple."""
    if round_to is None:
        return 1
    multiple = lcm(round_to, group.unit)
    if multiple > group.channels:
        counts = range(group.unit, group.channels + 1, group.unit)
        works = max(r for r in range(1, round_to) if any(n % r == 0 for n in counts))
        tied = f", which go {group.unit} at a time" if group.unit > 1 else ""
        raise ArgumentError(
            f'channels: round_to: {round_to} divides no count of "{group.name}", which has '
            f"{group.channels} channels{tied}; the nearest that works: {works}"
        )
    return multiple // group.unit
