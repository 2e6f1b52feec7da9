"""Several Taut models in one folder, read as one: every part is held against the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from taut.container.gather import check_out
from taut.container.index import Index, Origin, Record
from taut.container.read import NoSuchTensorError, TautFile
from taut.container.tree_table import TreePart, read_tree_table
from taut.errors import ArgumentError, FormatError
from taut.io.names import nearest
from taut.io.stamp import stamp_of
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import PIECE


class TreeFile(TautFile):
    """The tensors of several Taut models by name: each part's, behind the part's prefix.

    It is used as a `TautFile`; `units` gives the parts, each of which can be used alone.

    Raises:
        ArgumentError: a file is missing.
        FormatError: table and files do not agree; says in which.
        VerifyError: a file is damaged.
    """

    def __init__(self, path: str | Path, units: Mapping[str, TautFile], *, threads: int) -> None:
        self.path = Path(path)
        self.threads = threads
        self._stamp = stamp_of(self.path)
        self._table = read_tree_table(self.path)
        self.units = dict(units)
        self._where = {
            prefix + name: (file, name) for prefix, file in self.units.items() for name in file
        }
        if len(self._where) < sum(map(len, self.units.values())):
            raise FormatError(f"{self.path}: two tensors have one name")
        self.size = self._stamp.nbytes + sum(file.size for file in self.units.values())
        self._infos = tuple(
            replace(info, name=prefix + info.name)
            for prefix, file in self.units.items()
            for info in file.infos
        )
        origin = Origin(self._table.nbytes, {}, (), (), self._modules())
        records = (
            _renamed(record, prefix)
            for prefix, file in self.units.items()
            for record in file.index.records
        )
        self.index = Index(origin, (), tuple(records))

    def _modules(self) -> dict[str, Mapping[str, int]]:
        return {
            prefix + name: found
            for prefix, file in self.units.items()
            for name, found in file.modules.items()
        }

    @property
    def parts(self) -> tuple[TautFile, ...]:
        """The files, in the table's order."""
        return tuple(part for file in self.units.values() for part in file.parts)

    @property
    def own_files(self) -> frozenset[Path]:
        """All files that hold it, with indexes and the table."""
        units = (file.own_files for file in self.units.values())
        return frozenset({self.path}).union(*units)

    @property
    def named_parts(self) -> tuple[tuple[str, TautFile], ...]:
        """The files, each with what stands before its tensors' names."""
        units = self.units.items()
        return tuple((prefix, part) for prefix, file in units for part in file.parts)

    @property
    def files(self) -> dict[str, Path]:
        """The path of each part below the table, by its prefix."""
        return {part.prefix: Path(part.file) for part in self._table.parts}

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and decoded bytes of each tensor, part after part."""
        return self._infos

    @property
    def checksum(self) -> str:
        """That of the table, which covers those of all parts."""
        return self._table.checksum

    def __iter__(self) -> Iterator[str]:
        """The names, part after part."""
        return iter(self._where)

    def __len__(self) -> int:
        """How many tensors there are, aliases included."""
        return len(self._where)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor; decodes nothing."""
        return name in self._where

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor."""
        file, own = self._of(name)
        return file[own]

    def pieces(self, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """Decode one tensor about so many bytes at a time (see `TautFile.pieces`)."""
        file, own = self._of(name)
        return file.pieces(own, nbytes)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array of its dtype and shape, C-contiguous and writable."""
        file, own = self._of(name)
        file.read_into(own, out)

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors, a part after the other."""
        given = out or {}
        check_out(given, self.infos, self.path)
        found: dict[str, np.ndarray] = {}
        for prefix, file in self.units.items():
            into = {name: given[prefix + name] for name in file if prefix + name in given}
            for name, array in file.load_all(threads=threads, out=into).items():
                found[prefix + name] = array
        return found

    def check_still(self) -> None:
        """Raise `VerifyError` if a file was written to since it was opened."""
        self._stamp.check()
        for file in self.units.values():
            file.check_still()

    def _of(self, name: str) -> tuple[TautFile, str]:
        found = self._where.get(name)
        if found is None:
            raise NoSuchTensorError(f'{self.path}: no tensor "{name}"{nearest(name, self)}')
        return found


def _renamed(record: Record, prefix: str) -> Record:
    return replace(record, name=prefix + record.name, of=prefix + record.of if record.of else "")


def check_part(table: Path, part: TreePart, file: TautFile) -> None:
    """Raise `FormatError` unless a file is the very one that the table was written with."""
    if (file.size, file.checksum) != (part.nbytes, part.checksum):
        raise FormatError(
            f'{table}: "{part.file}" is a sound file, but not the one that the table was written '
            "with: of another model or another run; fetch both anew"
        )


def place_of_part(table: Path, part: TreePart) -> Path:
    """Where a part lies; raises ArgumentError if it is missing."""
    path = table.parent / part.file
    if not path.is_file():
        raise ArgumentError(
            f'{table}: "{part.file}" is missing, the tensors under {part.prefix} are in it; fetch '
            "it into the same folder"
        )
    return path
