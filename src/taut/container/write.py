"""Writes a Taut file; nothing stays that was not decoded and compared first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import xxhash

from taut.coding import Effort
from taut.container.atomic import AtomicFile
from taut.container.bases import Base
from taut.container.format import as_bytes
from taut.container.index import Origin
from taut.container.info import Info, describe
from taut.container.layout import Layout
from taut.container.read import TautFile
from taut.errors import VerifyError
from taut.io.tensor_info import TensorInfo
from taut.machine.closing import Closing

Progress = Callable[[str, int, int], None]


class Writer(Closing):
    """A context manager: add all tensors to `layout`, then `finish`.

    Without a `finish` that came to its end, the destination is as it was. `infos` are all tensors
    that will be added; they are written as they come. A delta is read back with its `base`.

    Raises:
        ArgumentError: the destination may not be written.
        TautError: the disk is full, or cannot be written for another reason.
    """

    def __init__(
        self,
        path: Path,
        origin: Origin,
        infos: Iterable[TensorInfo],
        *,
        effort: Effort = "fast",
        threads: int = 1,
        force: bool = False,
        base: Base | None = None,
    ) -> None:
        self._base = base
        self._file = AtomicFile(path, force=force)
        self._threads = threads
        self.layout = Layout(
            origin,
            infos,
            emit=self._file.write,
            rewind=lambda position: self._file.seek(self._body + position),
            effort=effort,
            threads=threads,
        )
        self._body = 8 + self.layout.room
        self._file.seek(self._body)

    def finish(self, progress: Progress | None = None) -> Info:
        """Complete the file, decode all of it, compare, rename; describes what was written.

        It is described before it gets its name, which another writer may take at any time.

        `progress` is told the stage ("verify"), how many tensors are compared, and of how many.

        Raises:
            VerifyError: a tensor does not decode to what was meant; the destination is as it was.
        """
        begin, header = self.layout.close()
        if begin != self._body:
            self._file.move(self._body, self._body + self.layout.size - begin, begin)
        self._file.seek(8)
        self._file.write(header)
        self._file.seek(0)
        self._file.write(len(header).to_bytes(8, "little"))  # from here on it is a safetensors file
        with self._file.syncing():  # what is read back is in the system's cache
            written = check_written(
                self._file.readable,
                self.layout.meant,
                threads=self._threads,
                progress=progress,
                base=self._base,
            )
        found = replace(describe(written), path=self._file.path)
        del written  # some systems rename no file that is mapped
        self._file.commit()
        return found

    def close(self) -> None:
        """Remove the temporary file, unless `finish` renamed it."""
        self._file.close()


def _sum_of(file: TautFile, name: str) -> str:
    """The xxh3 of what a tensor decodes to, of which a piece is held."""
    digest = xxhash.xxh3_64()
    for piece in file.pieces(name):
        digest.update(as_bytes(piece).data)
    return str(digest.hexdigest())


def check_written(
    path: Path,
    meant: Mapping[str, str],
    *,
    threads: int,
    progress: Progress | None = None,
    base: Base | None = None,
) -> TautFile:
    """Decode every tensor of a file and compare its xxh3 with `meant`; gives the open file.

    Raises:
        VerifyError: they differ; names the tensor.
    """
    file = TautFile(path, threads=threads, base=base)
    for number, (name, checksum) in enumerate(meant.items()):
        if _sum_of(file, name) != checksum:
            raise VerifyError(
                f'{path}: tensor "{name}" decodes to other values than were encoded; nothing was '
                "written (a defect of Taut or of this machine's memory: please report)",
                tensor=name,
            )
        if progress:
            progress("verify", number + 1, len(meant))
    return file
