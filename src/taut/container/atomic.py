"""Writes a file so that it is whole and in place, or as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from taut.errors import ArgumentError, TautError

_BLOCK = 1 << 20


def check_destination(path: Path, *, force: bool) -> Path:
    """Give the file that `path` stands for, through symbolic links, if it may be written.

    Raises:
        ArgumentError: it exists (and not `force`), is no plain file, or its folder is missing.
    """
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise ArgumentError(f"{path}: is a folder; name a file in it")
    if real.exists() and not real.is_file():
        raise ArgumentError(f"{path}: is not a plain file, so it cannot be replaced in one step")
    if not real.parent.is_dir():
        raise ArgumentError(f"{path}: the folder {real.parent} does not exist; make it first")
    if real.exists() and not force:
        raise ArgumentError(f"{path}: exists; give -f (force=True) to replace it")
    return real


class AtomicFile:
    """A file in the making: `<name>.<process id>.tmp` beside its destination, until `commit`.

    A context manager; leaving it without a commit, for whatever reason, removes the temporary
    file. A process that is killed leaves it behind under that name, which nothing reads.
    System errors (no room, no right) become `TautError`s that name the destination.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = check_destination(path, force=force)
        self._force = force
        self.temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        with self._explained():
            # A leftover of an earlier process with our id is not ours to keep, nor to follow.
            with contextlib.suppress(FileNotFoundError):
                self.temporary.unlink()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.temporary, flags, 0o666)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the current position."""
        view = memoryview(data).cast("B")
        with self._explained():
            while view:  # one call may write less than it was given, and never more than 2 GiB
                view = view[os.write(self._handle, view) :]

    def seek(self, position: int) -> None:
        """Go to a byte of the file, which may lie after its end."""
        os.lseek(self._handle, position, os.SEEK_SET)

    def move(self, begin: int, end: int, to: int) -> None:
        """Move the bytes from `begin` to `end` down to `to` and cut the file off after them."""
        position = begin
        with self._explained():
            while position < end:
                os.lseek(self._handle, position, os.SEEK_SET)
                block = os.read(self._handle, min(_BLOCK, end - position))
                if not block:
                    raise OSError("the file shrank while it was written")
                os.lseek(self._handle, to + position - begin, os.SEEK_SET)
                self.write(block)
                position += len(block)
            os.ftruncate(self._handle, to + end - begin)

    def sync(self) -> None:
        """Have the disk hold all bytes."""
        with self._explained():
            os.fsync(self._handle)

    def commit(self) -> None:
        """Put the file in its place, in one step."""
        self.sync()
        check_destination(self.path, force=self._force)
        with self._explained():
            self._close()
            os.replace(self.temporary, self.path)
            _sync_folder(self.path.parent)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def __enter__(self) -> AtomicFile:
        """Give the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the temporary file, unless it was committed."""
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self.temporary.unlink()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TautError(
                f"{self.path}: cannot be written ({error.strerror or error}); "
                "what was there before is untouched"
            ) from error


def _sync_folder(folder: Path) -> None:
    """Have the disk hold the new name too, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
