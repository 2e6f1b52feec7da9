"""Where the data of a tensor lies in its file, in the words of the header and of the index."""

from __future__ import annotations

from dataclasses import dataclass

from taut.container.format import ALIGNMENT
from taut.container.index import Part
from taut.errors import FormatError
from taut.io.header import HeaderTensor


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of one tensor or solid group lies.

    `parts` are () for a kept tensor; `nbytes` is the size of the decoded values, None for a solid
    group, whose array header alone knows it; `sum` is their checksum. `pack` is the number of the
    pack that it is in: its parts then have no checksums, its header no magic, it no `sum`, and
    `entry` is its place inside the pack.
    """

    name: str
    entry: HeaderTensor
    parts: tuple[Part, ...]
    nbytes: int | None
    sum: str
    pack: int | None = None


@dataclass(frozen=True, slots=True)
class PackPlace:
    """Where a pack lies, padding included, and its members in order.

    `entry` is None for the pack after the index; `sum` is the xxh3 of the members' sums.
    """

    name: str
    entry: HeaderTensor | None
    part: Part
    sum: str
    members: tuple[Place, ...]


def take_blob(
    name: str, parts: tuple[Part, ...], free: dict[str, HeaderTensor], body: int, spot: str
) -> HeaderTensor:
    """Take the entry `name` out of `free`; `FormatError` unless these parts fill it."""
    entry = free.pop(name, None)
    if entry is None:
        raise FormatError(f"{spot}: has no entry in the header (or it is another's)")
    if entry.dtype != "U8" or len(entry.shape) != 1:
        raise FormatError(f"{spot}: is coded, but {entry.dtype} {list(entry.shape)} in the header")
    size = sum(part.nbytes for part in parts)
    if size + -(entry.start - body + size) % ALIGNMENT != entry.nbytes:
        raise FormatError(
            f"{spot}: {len(parts)} parts of {size} bytes do not fill its {entry.nbytes} bytes "
            f"at offset {entry.start}"
        )
    return entry
