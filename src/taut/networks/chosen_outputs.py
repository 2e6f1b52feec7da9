"""Which outputs of a network count, and how much, as its caller says."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.networks.outputs import float_parts

if TYPE_CHECKING:
    import torch

SharesSpec: TypeAlias = (
    "Mapping[str, float] | Mapping[int, float] | Mapping[str | int, float] | Sequence[str | int]"
    " | str | int"
)

_SAID: Final = "outputs (--outputs)"


@dataclass(frozen=True)
class OutputShares:
    """What each output counts: those in `named`, by place or number, and `rest` each other one.

    >>> OutputShares.said({"policy": 1, "value": 0.1})
    OutputShares(named={'policy': 1.0, 'value': 0.1}, rest=1.0)
    >>> OutputShares.said("policy,2=0.5")
    OutputShares(named={'policy': 1.0, '2': 0.5}, rest=0.0)
    """

    named: Mapping[str, float] = field(default_factory=dict)
    rest: float = 1.0

    @classmethod
    def said(cls, said: SharesSpec | None) -> OutputShares:
        """Read what a caller says: a mapping weighs outputs, and names alone choose them.

        Raises:
            ArgumentError: a share is no number from 0 on, or none is above 0.
        """
        if said is None:
            return cls()
        pairs = list(_pairs(said))
        named = {place: 1.0 if share is None else _share(place, share) for place, share in pairs}
        if not named:
            raise ArgumentError(f"{_SAID}: names no output; leave it out, and all count")
        chosen = any(share is None for _, share in pairs)
        if chosen and not any(named.values()):
            raise ArgumentError(f"{_SAID}: no output is left that counts")
        return cls(named, 0.0 if chosen else 1.0)

    @property
    def all_alike(self) -> bool:
        """Whether every output counts as much as any other."""
        return self.rest == 1 and all(share == 1 for share in self.named.values())

    def of(self, places: Collection[str]) -> dict[str, float]:
        """The share of each of the places, in their order; a number counts them from 0.

        Raises:
            ArgumentError: something is named that there is not, or nothing counts.
        """
        listed = list(places)
        found = dict.fromkeys(listed, self.rest)
        for name, share in self.named.items():
            found[_place(name, listed)] = share
        if not any(found.values()):
            raise ArgumentError(f"{_SAID}: no output is left that counts; {_has(listed)}")
        return found

    def asked_for(self, places: Collection[str]) -> set[str]:
        """The places that are named to count."""
        listed = list(places)
        return {_place(name, listed) for name, share in self.named.items() if share}


def only(output: object, places: Iterable[str]) -> object:
    """The parts of an output at some places, by these: a dict of tensors."""
    parts: dict[str, torch.Tensor] = float_parts(output)
    return {place: parts[place] for place in places if place in parts}


def _pairs(said: SharesSpec) -> Iterable[tuple[str, object]]:
    """Places with what each counts; None of those that are named alone."""
    if isinstance(said, str):
        for part in said.split(","):
            place, equals, share = part.rpartition("=")
            yield (place.strip(), share.strip()) if equals else (part.strip(), None)
    elif isinstance(said, Mapping):
        yield from ((str(place), share) for place, share in said.items())
    elif isinstance(said, Sequence):
        yield from ((str(place), None) for place in said)
    else:
        yield str(said), None


def _share(place: str, share: object) -> float:
    try:
        found = float(share)  # type: ignore[arg-type]  # whatever it is, it is refused in words
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise ArgumentError(f'{_SAID}: what "{place}" counts, {share!r}, is no number of 0 or more')
    return found


def _place(name: str, places: Sequence[str]) -> str:
    """The place that a name or a number means."""
    if name in places:
        return name
    if name.isdecimal() and int(name) < len(places):
        return places[int(name)]
    raise ArgumentError(
        f'{_SAID}: the network has no output "{name}"{nearest(name, places)}; {_has(places)}'
    )


def _has(places: Sequence[str]) -> str:
    return "it has " + ", ".join(place or "a single one" for place in places)
