"""Cuts packs up: each member follows the one before it, and together they fill their pack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taut.container.format import INSIDE
from taut.container.index import Index, Pack, Part, Record, SolidGroup
from taut.container.place import PackPlace, Place, take_blob
from taut.errors import FormatError
from taut.io.dtypes import tensor_nbytes
from taut.io.header import HeaderTensor


def bind_packs(
    index: Index, free: dict[str, HeaderTensor], body: int, where: str, rest: HeaderTensor
) -> tuple[PackPlace, ...]:
    """Find the packs and their members; takes their entries out of `free`.

    `rest` is what lies after the index, where at most one pack may be.

    Raises:
        FormatError: lengths that do not fill a pack to the byte, or a pack that is not there.
    """
    members = _members(index, where)
    stream = _Stream(free, body, where, rest)
    places = tuple(
        _bind(number, pack, members[number], stream) for number, pack in enumerate(index.packs)
    )
    inside = sum(place.entry is None for place in places)
    if inside > 1 or (rest.nbytes and not inside):
        raise FormatError(
            f"{where}: index: {rest.nbytes} bytes after the end of the stream, for {inside} packs"
        )
    return places


def _members(index: Index, where: str) -> list[list[SolidGroup | Record]]:
    """What is in each pack, in order: solid groups first."""
    members: list[list[SolidGroup | Record]] = [[] for _ in index.packs]
    packed: list[SolidGroup | Record] = [group for group in index.groups if group.pack is not None]
    packed += [record for record in index.records if record.store == "packed"]
    for item in packed:
        number = item.pack or 0
        if number >= len(members):
            raise FormatError(f"{_spot(item, where)}: is in pack {number} of {len(members)}")
        members[number].append(item)
    return members


@dataclass(frozen=True)
class _Stream:
    """Where packs can lie: in entries that are `free`, from byte `body` on, or in the `rest`."""

    free: dict[str, HeaderTensor]
    body: int
    where: str
    rest: HeaderTensor


def _bind(
    number: int, pack: Pack, members: list[SolidGroup | Record], stream: _Stream
) -> PackPlace:
    where, rest = stream.where, stream.rest
    size = sum(part.nbytes for item in members for part in item.parts)
    part = Part(size, pack.checksum)
    if pack.name:
        entry = take_blob(pack.name, (part,), stream.free, stream.body, f"{where}: pack {number}")
    elif size == rest.nbytes <= INSIDE:
        entry = None
    else:
        raise FormatError(
            f"{where}: pack {number}: its members have {size} bytes, after the index there are "
            f"{rest.nbytes}; at most {INSIDE}"
        )
    begin = rest.start if entry is None else entry.start
    places = tuple(_cut(members, begin, number, where))
    return PackPlace(pack.name, entry, part, pack.sum, places)


def _cut(
    members: list[SolidGroup | Record], begin: int, number: int, where: str
) -> Iterable[Place]:
    for item in members:
        size = sum(part.nbytes for part in item.parts)
        entry = HeaderTensor(item.name, "U8", (size,), begin, begin + size)
        begin += size
        try:
            if isinstance(item, Record):
                nbytes: int | None = tensor_nbytes(item.stored_dtype, item.stored_shape)
            else:  # only its array header knows its size, but its dtype must be one
                nbytes = tensor_nbytes(item.dtype, (0,)) or None
        except FormatError as error:
            raise FormatError(f"{_spot(item, where)}: {error}") from None
        yield Place(item.name, entry, item.parts, nbytes, "", number)


def _spot(item: SolidGroup | Record, where: str) -> str:
    return f'{where}: {"tensor" if isinstance(item, Record) else "solid group"} "{item.name:.200}"'
