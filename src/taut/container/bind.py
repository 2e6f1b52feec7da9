"""Holds the table of contents against the header: afterwards each tensor has a checked place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taut.container.bind_packs import bind_packs
from taut.container.format import GROUP, LARGEST
from taut.container.index import Index, Record, SolidGroup
from taut.container.place import PackPlace, Place, take_blob
from taut.errors import FormatError
from taut.io.dtypes import DTYPE_BITS, SAFETENSORS_DTYPES, tensor_nbytes
from taut.io.header import HeaderTensor
from taut.io.tensor_info import TensorInfo

_SUMMED = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Contents:
    """A table of contents that agrees with its file.

    `places` are by name: coded, packed and kept tensors, and `groups`.
    """

    infos: tuple[TensorInfo, ...]
    records: dict[str, Record]
    places: dict[str, Place]
    groups: tuple[Place, ...]
    packs: tuple[PackPlace, ...]


def bind(
    index: Index, entries: Iterable[HeaderTensor], body: int, where: str, rest: HeaderTensor
) -> Contents:
    """Find the place of each record; `entries` are all but the index's, `body` is its first byte.

    `rest` is what lies after the index in its entry.

    Raises:
        FormatError: the two do not agree; the message names the tensor.
    """
    free = {entry.name: entry for entry in entries}
    records: dict[str, Record] = {}
    infos = []
    packs = bind_packs(index, free, body, where, rest)
    packed = {place.name: place for pack in packs for place in pack.members}
    groups = tuple(_bind_group(group, packed, free, body, where) for group in index.groups)
    places = _by_name(groups, where)
    for record in index.records:
        spot = f'{where}: tensor "{record.name}"'
        if record.name in records:
            raise FormatError(f"{spot}: is in the index twice")
        records[record.name] = record
        infos.append(_info(record, spot))
        if record.store == "solid":
            _check_member(record, index.groups, spot)
        elif record.store not in ("alias", "base"):
            if record.name in places:
                raise FormatError(f"{spot}: has the name of a solid group")
            places[record.name] = _bind_tensor(record, packed, free, body, spot)
    _check_aliases(records, where)
    _check_all_taken(free, where)
    return Contents(tuple(infos), records, places, groups, packs)


def _by_name(groups: tuple[Place, ...], where: str) -> dict[str, Place]:
    places = {place.name: place for place in groups}
    if len(places) < len(groups):
        raise FormatError(f"{where}: two solid groups have the same name")
    return places


def _check_all_taken(free: dict[str, HeaderTensor], where: str) -> None:
    if free:
        raise FormatError(f'{where}: entry "{next(iter(free))}" is in the header, not in the index')


def _info(record: Record, spot: str) -> TensorInfo:
    try:
        nbytes = tensor_nbytes(record.dtype, record.shape)
        if record.stored:
            tensor_nbytes(record.stored, record.stored_shape)
    except FormatError as error:
        raise FormatError(f"{spot}: {error}") from None
    if nbytes > LARGEST:
        raise FormatError(f"{spot}: {nbytes} bytes; at most 2^48")
    if record.base == "sum" and record.dtype not in _SUMMED:
        raise FormatError(f"{spot}: {record.dtype} is not added to a base")
    if record.base == "delta" and record.stored:
        raise FormatError(f"{spot}: is a delta that is stored as {record.stored}")
    if record.stored and not {record.stored, record.dtype} <= SAFETENSORS_DTYPES.keys():
        raise FormatError(f"{spot}: {record.stored} cannot be cast to {record.dtype}")
    return TensorInfo(record.name, record.dtype, record.shape, nbytes)


def _bind_group(
    group: SolidGroup,
    packed: dict[str, Place],
    free: dict[str, HeaderTensor],
    body: int,
    where: str,
) -> Place:
    if group.pack is not None:
        return packed[group.name]
    spot = f'{where}: solid group "{group.name}"'
    if group.dtype not in DTYPE_BITS:
        raise FormatError(f'{spot}: unknown dtype "{group.dtype:.40}"')
    entry = take_blob(group.name, group.parts, free, body, spot)
    return Place(group.name, entry, group.parts, None, group.sum)


def _bind_tensor(
    record: Record,
    packed: dict[str, Place],
    free: dict[str, HeaderTensor],
    body: int,
    spot: str,
) -> Place:
    if record.store == "packed":
        return packed[record.name]
    nbytes = tensor_nbytes(record.stored_dtype, record.stored_shape)
    if record.store == "coded":
        entry = take_blob(record.name, record.parts, free, body, spot)
        return Place(record.name, entry, record.parts, nbytes, record.sum)
    kept = free.pop(record.name, None)
    if kept is None:
        raise FormatError(f"{spot}: is kept, but not in the header (or there for another)")
    if kept.dtype != record.stored_dtype or kept.shape != record.stored_shape:
        raise FormatError(
            f"{spot}: is {record.stored_dtype} {list(record.stored_shape)} in the index, "
            f"{kept.dtype} {list(kept.shape)} in the header"
        )
    return Place(record.name, kept, (), nbytes, record.sum)


def _check_member(record: Record, groups: tuple[SolidGroup, ...], spot: str) -> None:
    if record.solid >= len(groups):
        raise FormatError(f"{spot}: is in solid group {record.solid} of {len(groups)}")
    group = groups[record.solid]
    if group.base != (record.base == "delta"):
        raise FormatError(f"{spot}: is a delta, or its solid group is, but not both")
    if group.dtype != record.stored_dtype:
        raise FormatError(f"{spot}: is {record.stored_dtype}, its solid group {group.dtype}")
    dtype = SAFETENSORS_DTYPES.get(record.stored_dtype)
    nbytes = tensor_nbytes(record.stored_dtype, record.stored_shape)
    if record.at + nbytes > GROUP or record.at % (dtype.itemsize if dtype else 1):
        raise FormatError(f"{spot}: byte {record.at} of a solid group is no place for it")


def _check_aliases(records: dict[str, Record], where: str) -> None:
    for record in records.values():
        if record.store != "alias":
            continue
        spot, target = f'{where}: tensor "{record.name}"', records.get(record.of)
        if target is None or target.store == "alias":
            raise FormatError(f'{spot}: "{record.of:.200}" carries no data for it')
        if target.dtype != record.dtype or target.shape != record.shape:
            raise FormatError(
                f'{spot}: differs in dtype or shape from "{record.of}", which it repeats'
            )
