"""Several Taut models in one folder, read as one: every part is held against the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from taut.container.index import Index, Origin, Record
from taut.container.joined import JoinedFile
from taut.container.read import TautFile
from taut.container.tree_table import TreePart, read_tree_table
from taut.errors import ArgumentError, FormatError
from taut.io.stamp import stamp_of


class TreeFile(JoinedFile):
    """The tensors of several Taut models by name: each part's, behind the part's prefix.

    It is used as a `TautFile`; `units` gives the parts, each of which can be used alone.

    Raises:
        FormatError: two tensors have one name, or the table is damaged.
        VerifyError: the table does not match its checksum.
    """

    def __init__(self, path: str | Path, units: Mapping[str, TautFile], *, threads: int) -> None:
        path, self.units = Path(path), dict(units)
        stamp, self._table = stamp_of(path), read_tree_table(path)
        infos = tuple(
            replace(info, name=prefix + info.name)
            for prefix, file in self.units.items()
            for info in file.infos
        )
        if len({info.name for info in infos}) < len(infos):
            raise FormatError(f"{path}: two tensors have one name")
        super().__init__(stamp, self._table, [*self.units.items()], infos, threads=threads)
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
