"""Where a folder with several models goes: a Taut file, or shards, in the place of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from taut.compression.origin import origin_of
from taut.compression.shard_job import (
    Made,
    Partition,
    ShardFacts,
    index_data,
    partition_of,
    shard_origin,
)
from taut.container import Layout, Origin
from taut.container.find import INDEX_SUFFIX, SUFFIX
from taut.container.tree_table import TreePart, tree_bytes
from taut.encoding.model import FilesToBe
from taut.errors import ArgumentError
from taut.io import Source
from taut.io.part_of import PartOf
from taut.io.tree import TreeSource, Unit

_INDEX: Final = ".safetensors.index.json"


@dataclass(frozen=True)
class UnitPlace:
    """A unit of a tree and where it goes: `file` is a path below the output's folder.

    With `partition` it is the index of several files beside it.
    """

    unit: Unit
    file: Path
    partition: Partition | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written for it."""
        shards = () if self.partition is None else self.partition.files
        return (*(self.file.with_name(name) for name in shards), self.file)


def unit_places(tree: TreeSource, shard_size: int | None) -> tuple[UnitPlace, ...]:
    """Where each unit goes; as its source has it, or in shards of at most so many bytes.

    Raises:
        ArgumentError: two units would have one file.
    """
    places = tuple(_unit_place(unit, shard_size) for unit in tree.units)
    taken: dict[str, Path] = {}
    for place in places:
        for file in place.files:
            other = taken.setdefault(file.as_posix().casefold(), place.unit.path)
            if other != place.unit.path:
                raise ArgumentError(
                    f"{tree.identity}: {other} and {place.unit.path} would both become {file}; "
                    "compress one of them by itself"
                )
    return places


def _unit_place(unit: Unit, shard_size: int | None) -> UnitPlace:
    name = unit.path.name
    stem = name.removesuffix(_INDEX).removesuffix(".safetensors")
    partition = partition_of(unit.source, shard_size)
    if partition is None:
        return UnitPlace(unit, unit.folder / f"{stem}{SUFFIX}")
    if shard_size is not None:
        partition = _called(partition, stem)
    return UnitPlace(unit, unit.folder / f"{stem}{INDEX_SUFFIX}", partition)


def _called(partition: Partition, stem: str) -> Partition:
    """Shards that were cut anew, called after their unit."""
    names = {name: f"{stem}{name.removeprefix('model')}" for name in partition.files}
    owners = {tensor: names[file] for tensor, file in partition.owners.items()}
    return replace(partition, files=tuple(names.values()), owners=owners)


def tree_files(tree: Source, places: Sequence[UnitPlace]) -> FilesToBe:
    """What a search for a size is to count: every file, the indexes and the table."""
    parts: list[tuple[Source, Origin]] = []
    for place in places:
        unit, whole = place.unit, origin_of(place.unit.source)
        for file, names in _names(place).items():
            held = PartOf(tree, frozenset(unit.prefix + name for name in names))
            origin = whole
            if place.partition is not None:
                origin = shard_origin(whole, unit.source, place.partition, file)
            parts.append((held, origin))
    return FilesToBe(tuple(parts), lambda layouts: _index_bytes(tree.nbytes, places, layouts))


def _names(place: UnitPlace) -> Mapping[str, tuple[str, ...]]:
    """The tensors of each file of a unit."""
    source = place.unit.source
    if place.partition is None:
        return {place.file.name: tuple(info.name for info in source.infos)}
    return {file: place.partition.names(file, source) for file in place.partition.files}


def _index_bytes(nbytes: int, places: Sequence[UnitPlace], layouts: Sequence[Layout]) -> int:
    left = list(layouts)
    total, parts = 0, []
    for place in places:
        if place.partition is None:
            size = left.pop(0).size
        else:
            count = len(place.partition.files)
            own, left = left[:count], left[count:]
            made = [
                Made(ShardFacts(file, one.size, one.checksum), one.index.records)
                for file, one in zip(place.partition.files, own, strict=True)
            ]
            index = len(index_data(origin_of(place.unit.source), place.partition, made))
            total += index
            size = index + sum(one.size for one in own)
        parts.append(TreePart(place.file.as_posix(), place.unit.prefix, size, "0" * 16))
    return total + len(tree_bytes(nbytes, parts))
