"""Several Taut files read as one: a tensor comes out of the file that holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from taut.container.coded_arrays import Checked
from taut.container.gather import check_out
from taut.container.integer_reader import IntegerReader
from taut.container.read import TautFile, no_tensor
from taut.container.row_reader import RowReader
from taut.container.shard_table import ShardTable
from taut.container.tree_table import TreeTable
from taut.io.stamp import Stamp
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import PIECE


class JoinedFile(TautFile):
    """The tensors of several files, by the names that a `table` has for them.

    `held` are the files, each with what stands before its tensors' own names; `infos` are all
    tensors, in order; `stamp` is what the table was before it was read. It is used as a `TautFile`,
    whose `size` counts the table too.
    """

    def __init__(
        self,
        stamp: Stamp,
        table: ShardTable | TreeTable,
        held: Sequence[tuple[str, TautFile]],
        infos: Sequence[TensorInfo],
        *,
        threads: int,
    ) -> None:
        self.path, self.threads = stamp.path, threads
        self._stamp = stamp
        self._checksum = table.checksum
        self._held, self._infos = tuple(held), tuple(infos)
        where = {prefix + name: (file, name) for prefix, file in held for name in file}
        self._where = {info.name: where[info.name] for info in infos}
        self.size = self._stamp.nbytes + sum(file.size for _, file in held)

    @property
    def parts(self) -> tuple[TautFile, ...]:
        """The files, in the table's order."""
        return tuple(part for _, file in self._held for part in file.parts)

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Name, dtype, shape and decoded bytes of each tensor, in the model's order."""
        return self._infos

    @property
    def checksum(self) -> str:
        """That of the table, which covers those of all files."""
        return self._checksum

    def __iter__(self) -> Iterator[str]:
        """The names, in the model's order."""
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

    def span(self, name: str, begin: int, end: int) -> np.ndarray:
        """The values of one tensor from `begin` to `end` (see `TautFile.span`)."""
        file, own = self._of(name)
        return file.span(own, begin, end)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array of its dtype and shape, C-contiguous and writable."""
        file, own = self._of(name)
        file.read_into(own, out)

    def coded(self, name: str) -> Checked | None:
        """A tensor's coded array (see `TautFile.coded`)."""
        file, own = self._of(name)
        return file.coded(own)

    def row_reader(self, name: str) -> RowReader | None:
        """What gives some rows of a tensor without decoding all of it."""
        file, own = self._of(name)
        return file.row_reader(own)

    def integer_reader(self, name: str) -> IntegerReader | None:
        """What gives the integers that a rounded tensor's values are made of."""
        file, own = self._of(name)
        return file.integer_reader(own)

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors, a file after the other; tied ones of a file share their memory."""
        given = out or {}
        check_out(given, self.infos, self.path)
        found: dict[str, np.ndarray] = {}
        for prefix, file in self._held:
            into = {name: given[prefix + name] for name in file if prefix + name in given}
            for name, array in file.load_all(threads=threads, out=into).items():
                found[prefix + name] = array
        return {name: found[name] for name in self}

    def check_still(self) -> None:
        """Raise `VerifyError` if a file was written to since it was opened."""
        self._stamp.check()
        for _, file in self._held:
            file.check_still()

    def _of(self, name: str) -> tuple[TautFile, str]:
        found = self._where.get(name)
        if found is None:
            raise no_tensor(self.path, name, self)
        return found
