"""A model in several Taut files, read as one: every shard is held against the index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from taut.container.index import Index, Origin, Record
from taut.container.joined import JoinedFile
from taut.container.read import TautFile
from taut.container.shard_table import Shard, ShardTable, read_table
from taut.container.source_header import rebuild_header
from taut.errors import ArgumentError, FormatError
from taut.io.stamp import stamp_of


class ShardedFile(JoinedFile):
    """The tensors of several Taut files by name, as the index at `path` lists them.

    It is used as a `TautFile`; `size` counts the index too, and solid groups and packs are the
    shards' own affair (`parts`).

    Raises:
        ArgumentError: a file is missing.
        FormatError: index and shards do not agree; says in which.
        VerifyError: a file is damaged.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        path = Path(path)
        stamp, table = stamp_of(path), read_table(path)
        shards = {shard.name: _opened(path, shard, table, threads) for shard in table.shards}
        _check_listed(path, table, shards)
        infos = {info.name: info for one in shards.values() for info in one.infos}
        ordered = [infos[name] for name in table.owners]
        super().__init__(
            stamp, table, [("", one) for one in shards.values()], ordered, threads=threads
        )
        records = {record.name: record for one in self.parts for record in one.index.records}
        listed = tuple(records[name] for name in table.owners)
        self.index = Index(_origin(table, self.parts, listed), (), listed)


def _origin(table: ShardTable, parts: tuple[TautFile, ...], records: tuple[Record, ...]) -> Origin:
    """What was compressed, with the files' headers that the index leaves to the shards."""
    origin, files = table.origin, table.origin.files
    if not files:
        files = tuple(file for one in parts for file in one.index.origin.files)
    elif table.rebuild:
        files = ((files[0][0], rebuild_header(records, origin.metadata)),)
    modules = {name: found for one in parts for name, found in one.modules.items()}
    base = next((one.index.origin.base for one in parts if one.index.origin.base), "")
    return Origin(
        origin.nbytes, origin.metadata, files, origin.texts, modules, origin.quantization, base
    )


def _opened(index: Path, shard: Shard, table: ShardTable, threads: int) -> TautFile:
    """One shard, which must be the very file that the index was written with."""
    path = index.parent / shard.name
    if not path.is_file():
        count = sum(owner == shard.name for owner in table.owners.values())
        raise ArgumentError(
            f'{index}: shard "{shard.name}" is missing, {count} tensors are in it; fetch it into '
            "the same folder"
        )
    file = TautFile(path, threads=threads)
    if (file.size, file.checksum) != (shard.nbytes, shard.checksum):
        raise FormatError(
            f'{index}: shard "{shard.name}" is a sound file, but not the one that the index was '
            "written with: of another model or another run; fetch both anew"
        )
    return file


def _check_listed(index: Path, table: ShardTable, shards: Mapping[str, TautFile]) -> None:
    """The tensors of the shards must be those that the index lists, each in one shard."""
    for name, file in shards.items():
        for tensor in file:
            owner = table.owners.get(tensor)
            if owner is None:
                raise FormatError(
                    f'{index}: shard "{name}" holds the tensor "{tensor:.200}", which the index '
                    "does not list"
                )
            if owner != name:
                raise FormatError(
                    f'{index}: tensor "{tensor:.200}" is in shard "{name}", but listed in "{owner}"'
                )
    for tensor, owner in table.owners.items():
        if tensor not in shards[owner]:
            raise FormatError(
                f'{index}: tensor "{tensor:.200}" is listed in "{owner}", which does not hold it'
            )
