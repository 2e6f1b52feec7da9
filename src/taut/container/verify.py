"""Checks every byte of a Taut file: all checksums, then the decoded values' as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from taut.container.decoded import tell_decoded
from taut.container.fetch import Fetcher
from taut.container.find import as_path
from taut.container.format import xxh3
from taut.container.gather import member
from taut.container.index import Record
from taut.container.opening import BaseSpec, open_taut
from taut.container.pack import sum_of
from taut.container.place import PackPlace, Place
from taut.container.read import TautFile
from taut.container.through_stores import through_stores
from taut.errors import FormatError, VerifyError
from taut.io.arena import allocate
from taut.io.file_objects import BinaryFile
from taut.io.tensor_pieces import LARGE, PIECE
from taut.machine.cores import checked_threads
from taut.pictured import Pictured
from taut.progress import Progress

_LISTED = 16  # members of a pack that an error names


@dataclass(frozen=True, repr=False)
class VerifyReport(Pictured):
    """What was checked: tensors (aliases included), chunks, bytes of the file, bytes decoded."""

    path: Path
    size: int
    tensors: int
    chunks: int
    decoded: int

    def __str__(self) -> str:
        """The report in a line."""
        return (
            f"{self.tensors} tensors, {self.chunks} chunks, {self.size} bytes checked and "
            f"decoded to {self.decoded}: no damage"
        )


@through_stores("path")
def verify(
    path: str | Path | BinaryFile | bytes,
    *,
    threads: int | None = None,
    base: BaseSpec | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check and decode all of a Taut file or its shards, or of those in a folder, by tensors.

    Raises as the verb (taut.verbs.verify).
    """
    threads = checked_threads(threads)
    file = open_taut(as_path(path), threads=threads, base=base)
    tell_decoded(file, progress)
    damage: list[VerifyError | FormatError] = []
    chunks = decoded = 0
    for part in file.parts:
        found = _verify_one(part, threads)
        damage += found.damage
        chunks, decoded = chunks + found.chunks, decoded + found.decoded
    file.check_still()
    if damage:
        raise _summary(damage)
    return VerifyReport(file.path, file.size, len(file), chunks, decoded)


@dataclass(frozen=True)
class _Checked:
    """What was found in one file."""

    damage: tuple[VerifyError | FormatError, ...]
    chunks: int
    decoded: int


def _verify_one(file: TautFile, threads: int) -> _Checked:
    """Check and decode all of one file."""
    solids = _solids(file)
    damage: list[VerifyError | FormatError] = []
    sums: dict[str, str] = {}  # what members of packs decode to
    decoded = _checked_bases(file, damage)
    for place in file.contents.places.values():
        try:
            if (whole := _checked_in_pieces(file, place, sums)) is not None:
                decoded += whole
                continue
            values = _checked_values(file.fetcher, place, threads)
            group = f'{file.path}: solid group "{place.name}"'
            _check_members(solids.get(place.name, ()), values, group)
            decoded += values.nbytes
            if place.pack is not None:
                sums[place.name] = xxh3(values)
        except (VerifyError, FormatError) as error:
            damage.append(error)
    for pack in file.contents.packs:
        if all(place.name in sums for place in pack.members):
            damage += _pack_damage(pack, sums, file.fetcher.where)
    chunks = sum(max(len(place.parts) - 1, 0) for place in file.contents.places.values())
    return _Checked(tuple(damage), chunks, decoded)


def _checked_bases(file: TautFile, damage: list[VerifyError | FormatError]) -> int:
    """Check the base's tensors that no array is decoded with; the bytes that are the model's."""
    decoded = 0
    for record in file.contents.records.values():
        if record.store != "base" and record.base != "sum":
            continue
        try:
            nbytes = file.bases.check(record)
            decoded += nbytes if record.store == "base" else 0
        except (VerifyError, FormatError) as error:
            damage.append(error)
    return decoded


def _checked_in_pieces(file: TautFile, place: Place, sums: dict[str, str]) -> int | None:
    """Check and decode a large tensor, of which a piece is held; its bytes, None if it is none.

    Of a member of a pack `sums` takes what it decodes to.
    """
    if place.nbytes is None or place.nbytes <= LARGE:
        return None
    digest, decoded = xxhash.xxh3_64(), 0
    for piece in file.stored_pieces(place, PIECE):
        digest.update(piece.data)
        decoded += piece.nbytes
    if place.pack is not None:
        sums[place.name] = digest.hexdigest()
    elif digest.hexdigest() != place.sum:
        raise _other_values(file.fetcher, place)
    return decoded


def _other_values(fetcher: Fetcher, place: Place) -> VerifyError:
    return VerifyError(
        f'{fetcher.where}: tensor "{place.name}" decodes to values that do not match their '
        f"checksum, although its {len(place.parts)} parts match theirs",
        tensor=place.name,
    )


def _checked_values(fetcher: Fetcher, place: Place, threads: int) -> np.ndarray:
    if not place.parts:
        (values,) = allocate([place.entry.nbytes])
        fetcher.copy(place, values)
        return values
    checked = fetcher.check(place)
    (values,) = allocate([checked.nbytes])
    fetcher.decode([(checked, values)], threads)
    if place.pack is None and xxh3(values) != place.sum:
        raise _other_values(fetcher, place)
    return values


def _pack_damage(pack: PackPlace, sums: Mapping[str, str], where: str) -> list[VerifyError]:
    if sum_of(sums[place.name] for place in pack.members) == pack.sum:
        return []
    names = [place.name for place in pack.members]
    listed = ", ".join(f'"{name}"' for name in names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [
        VerifyError(
            f"{where}: one of the packed tensors {listed}{more} decodes to values that do not "
            "match their checksum",
            tensor=names[0] if names else None,
        )
    ]


def _solids(file: TautFile) -> dict[str, list[Record]]:
    """The small tensors of each solid group, by the group's name."""
    found: dict[str, list[Record]] = {group.name: [] for group in file.contents.groups}
    for record in file.contents.records.values():
        if record.store == "solid":
            found[file.contents.groups[record.solid].name].append(record)
    return found


def _check_members(records: Iterable[Record], values: np.ndarray, where: str) -> None:
    """Each small tensor must lie inside its decoded group."""
    for record in records:
        member(values, record, where)


def _summary(damage: list[VerifyError | FormatError]) -> VerifyError | FormatError:
    first = damage[0]
    if len(damage) == 1:
        return first
    message = f"{first}; {len(damage) - 1} more tensors are damaged"
    if isinstance(first, VerifyError):
        return VerifyError(message, tensor=first.tensor, chunk=first.chunk)
    return FormatError(message)
