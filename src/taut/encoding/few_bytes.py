"""Coded arrays that may turn out so short that they go into a pack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taut.coding import CodedArray
from taut.container.format import PACKED


class FewBytes:
    """Keeps the parts of a coded array as they pass, as long as they are few."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._nbytes = 0

    def kept(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """The same parts."""
        for part in parts:
            self._nbytes += len(part)
            if self._nbytes < PACKED:
                self._parts.append(part)
            yield part

    @property
    def are(self) -> bool:
        """Whether those that have passed were few."""
        return self._nbytes < PACKED

    def coded(self) -> CodedArray:
        """All of them, once they have passed and were few."""
        header, *chunks = self._parts
        return CodedArray(header, tuple(chunks))
