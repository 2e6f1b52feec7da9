"""A pack in the making: small coded arrays end to end, without a header entry for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taut.coding import CodedArray
from taut.container.format import MAGIC, xxh3
from taut.container.index import Part


@dataclass(frozen=True)
class _Member:
    """One coded array; a pack's members lie in the `order` of the table of contents."""

    order: tuple[int, int]
    data: bytes
    sum: str


class OpenPack:
    """Holds its members, `nbytes` in all, until it is closed."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self.nbytes = 0

    def add(self, order: tuple[int, int], coded: CodedArray, checksum: str) -> tuple[Part, ...]:
        """Add an array that decodes to bytes of this xxh3; gives its parts as they are stored."""
        pieces = (coded.header.removeprefix(MAGIC), *coded.chunks)
        data = b"".join(pieces)
        self._members.append(_Member(order, data, checksum))
        self.nbytes += len(data)
        return tuple(Part(len(piece)) for piece in pieces)

    def close(self) -> tuple[bytes, str]:
        """The bytes of the pack, and the sum of its members' sums."""
        members = sorted(self._members, key=lambda member: member.order)
        return b"".join(m.data for m in members), sum_of(m.sum for m in members)


def sum_of(sums: Iterable[str]) -> str:
    """The xxh3 of sums, the digits of each one after the other."""
    return xxh3("".join(sums).encode())
