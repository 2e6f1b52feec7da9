"""A group of channels that can only be removed together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Units: TypeAlias = tuple[tuple[int, ...], ...]
Side: TypeAlias = Literal["out", "in", "both"]


@dataclass(frozen=True)
class Member:
    """A layer's side that loses `index` of its channels where the group loses `root` of its own.

    `side` "both" is a layer whose outputs are its inputs, channel by channel. `axis` is that of a
    plain parameter.
    """

    name: str
    side: Side
    index: tuple[int, ...]
    root: tuple[int, ...]
    axis: int = -1


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of the layer `name` that can go; each of `units` goes as a whole.

    `heads` are the attention modules of which a unit is a head.
    """

    name: str
    units: Units
    members: tuple[Member, ...]
    heads: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """How many there are."""
        return sum(map(len, self.units))

    @property
    def unit(self) -> int:
        """The channels of a unit."""
        return len(self.units[0])
