"""A model in several Taut files, read as one: every shard is held against the index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from taut.container.bases import Base
from taut.container.gather import check_out
from taut.container.index import Index, Origin, Record
from taut.container.read import NoSuchTensorError, TautFile
from taut.container.shard_table import Shard, ShardTable, read_table
from taut.container.source_header import rebuild_header
from taut.errors import ArgumentError, FormatError
from taut.io.names import nearest
from taut.io.stamp import stamp_of
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import PIECE


class ShardedFile(TautFile):
    """The tensors of several Taut files by name, as the index at `path` lists them.

    It is used as a `TautFile`; `size` counts the index too, and solid groups and packs are the
    shards' own affair (`parts`).

    Raises:
        ArgumentError: a file is missing.
        FormatError: index and shards do not agree; says in which.
        VerifyError: a file is damaged.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, base: Base | None = None) -> None:
        self.path = Path(path)
        self.threads = threads
        self._stamp = stamp_of(self.path)
        self._table = read_table(self.path)
        self._shards = {
            shard.name: _opened(self.path, shard, self._table, threads, base)
            for shard in self._table.shards
        }
        _check_listed(self.path, self._table, self._shards)
        self.size = self._stamp.nbytes + sum(one.size for one in self._shards.values())
        infos = {info.name: info for one in self._shards.values() for info in one.infos}
        self._infos = tuple(infos[name] for name in self._table.owners)
        self.index = self._whole_index()

    @property
    def parts(self) -> tuple[TautFile, ...]:
        """The shards, in the index's order."""
        return tuple(self._shards.values())

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and decoded bytes of each tensor, in the model's order."""
        return self._infos

    @property
    def checksum(self) -> str:
        """That of the index, which covers those of all shards."""
        return self._table.checksum

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
        return iter(self._table.owners)

    def __len__(self) -> int:
        """How many tensors there are, aliases included."""
        return len(self._table.owners)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor; decodes nothing."""
        return name in self._table.owners

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor."""
        return self._owner(name)[name]

    def pieces(self, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """Decode one tensor about so many bytes at a time (see `TautFile.pieces`)."""
        return self._owner(name).pieces(name, nbytes)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array of its dtype and shape, C-contiguous and writable."""
        self._owner(name).read_into(name, out)

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors, a shard after the other; tied ones of a shard share their memory."""
        given = out or {}
        check_out(given, self.infos, self.path)
        found: dict[str, np.ndarray] = {}
        for one in self.parts:
            into = {name: given[name] for name in one if name in given}
            found |= one.load_all(threads=threads, out=into)
        return {name: found[name] for name in self}

    def check_still(self) -> None:
        """Raise `VerifyError` if a file was written to since it was opened."""
        self._stamp.check()
        for one in self.parts:
            one.check_still()

    def _owner(self, name: str) -> TautFile:
        shard = self._table.owners.get(name)
        if shard is None:
            raise NoSuchTensorError(f'{self.path}: no tensor "{name}"{nearest(name, self)}')
        return self._shards[shard]

    def _whole_index(self) -> Index:
        records = {record.name: record for one in self.parts for record in one.index.records}
        ordered = tuple(records[name] for name in self._table.owners)
        return Index(_origin(self._table, self.parts, ordered), (), ordered)


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


def _opened(
    index: Path, shard: Shard, table: ShardTable, threads: int, base: Base | None
) -> TautFile:
    """One shard, which must be the very file that the index was written with."""
    path = index.parent / shard.name
    if not path.is_file():
        count = sum(owner == shard.name for owner in table.owners.values())
        raise ArgumentError(
            f'{index}: shard "{shard.name}" is missing, {count} tensors are in it; fetch it into '
            "the same folder"
        )
    file = TautFile(path, threads=threads, base=base)
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
