"""Writes a file so that it is whole and in place, or as if nothing had happened."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from taut.container.free_name import free_name
from taut.container.hold import is_at
from taut.container.nameless import path_of
from taut.container.temporary import named, new_file
from taut.errors import ArgumentError, TautError
from taut.io.stores import store_hint
from taut.machine.closing import Closing

_BLOCK = 1 << 20
_USUAL = 0o666  # of a new file; the umask takes its part of it
_OWN = 0o600  # what a file has while it is written: it is read again before it is kept
_ROOM: Final = "; make room there, or write elsewhere"
_RIGHT: Final = "; write elsewhere, or where you may write"
_WAY_OUT: Final = {
    errno.ENOSPC: _ROOM,
    getattr(errno, "EDQUOT", errno.ENOSPC): _ROOM,
    errno.EFBIG: "; write elsewhere, or allow files of that size (ulimit -f)",
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EROFS: _RIGHT,
}
"""What to do about an error of the system, by its number."""


def check_destination(path: Path, *, force: bool) -> Path:
    """Give the file that `path` stands for, through symbolic links, if it may be written.

    Raises:
        ArgumentError: it exists (and not `force`), is no plain file, or its folder is missing.
    """
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise ArgumentError(f"{path}: is a folder; name a file in it")
    if (path.exists() and not path.is_file()) or (real.exists() and not real.is_file()):
        raise ArgumentError(f"{path}: is not a plain file, so it cannot be replaced in one step")
    if not real.parent.is_dir():
        hint = store_hint(path) or "; make it first"
        raise ArgumentError(f"{path}: the folder {real.parent} does not exist{hint}")
    if real.exists() and not force:
        raise _exists(path)
    return real


class AtomicFile(Closing):
    """A file in the making, without a name or as `<name>.<16 hex digits>.tmp`, until `commit`.

    A context manager; leaving it without a commit, for whatever reason, removes the temporary
    file. A process that is killed leaves nothing where the system has files without a name
    (Linux, on most disks); elsewhere what it left is removed by the next that writes the same
    destination. A file that is replaced hands on its mode; a new one has the umask's. System errors
    (no room, no right) become `TautError`s that name the destination.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = check_destination(path, force=force)
        self._force = force
        with explained(self.path):
            replaced = self.path.stat().st_mode & 0o777 if self.path.exists() else _USUAL
            self._temporary, self._handle = new_file(self.path, replaced | _OWN)

    @property
    def readable(self) -> Path:
        """By which path this process can read what is written so far."""
        return self._temporary or path_of(self._handle)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data` at the current position."""
        view = memoryview(data).cast("B")
        with explained(self.path):
            while view:  # one call may write less than it was given, and never more than 2 GiB
                view = view[os.write(self._handle, view) :]

    def seek(self, position: int) -> None:
        """Go to a byte of the file, which may lie after its end."""
        os.lseek(self._handle, position, os.SEEK_SET)

    def move(self, begin: int, end: int, to: int) -> None:
        """Move the bytes from `begin` to `end` down to `to` and cut the file off after them."""
        position = begin
        with explained(self.path):
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
        with explained(self.path):
            os.fsync(self._handle)

    @contextlib.contextmanager
    def syncing(self) -> Iterator[None]:
        """Have the disk hold all bytes while the body works, which waits for it at its end."""
        failed: list[BaseException] = []

        def sync() -> None:
            try:
                self.sync()
            except BaseException as error:  # told where the body ends
                failed.append(error)

        thread = threading.Thread(target=sync)
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if failed:
            raise failed[0]

    def commit(self) -> None:
        """Put the file in its place, in one step.

        Raises:
            ArgumentError: something is in its place by now (and not `force`).
            TautError: the temporary file is not the one that was written.
        """
        self.sync()
        check_destination(self.path, force=self._force)
        with explained(self.path):
            if self._temporary is None:
                self._temporary = named(self.path, self._handle)
            if not is_at(self._handle, self._temporary):
                raise TautError(
                    f"{self.path}: somebody removed or replaced {self._temporary.name} while it "
                    "was written; what was there before is untouched"
                )
            if os.name == "nt":  # where an open file cannot be renamed
                self._close()
            place(self._temporary, self.path, force=self._force)
            self._close()
            sync_folder(self.path.parent)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def close(self) -> None:
        """Remove the temporary file, unless it was committed."""
        if self._handle < 0:
            return
        if os.name == "nt":  # where an open file cannot be removed
            with contextlib.suppress(OSError):
                self._close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
        with contextlib.suppress(OSError):
            self._close()


def write_file(path: Path, data: bytes, *, force: bool) -> None:
    """Write a small file, whole or not at all."""
    with AtomicFile(path, force=force) as file:
        file.write(data)
        file.commit()


def place(temporary: Path, path: Path, *, force: bool) -> None:
    """Give a finished file its name, and the mode (and owner, if it may) of the file that had it.

    Without `force` nothing is replaced, also not what came into being a moment ago.

    Raises:
        ArgumentError: something is there (and not `force`).
        OSError: the system refused.
    """
    _hand_on(path, temporary)
    if force:
        os.replace(temporary, path)
    elif os.name == "nt":  # where a rename replaces nothing
        _unless_there(os.rename, temporary, path)
    else:
        try:
            _unless_there(os.link, temporary, path)
        except OSError:  # a file system without links
            check_destination(path, force=force)
            os.replace(temporary, path)
        else:
            temporary.unlink()


def _hand_on(path: Path, temporary: Path) -> None:
    """Give a file the owner and mode of the one at `path`, if there is one."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return
    if os.name != "nt":
        with contextlib.suppress(OSError):  # of another user: then the file is ours
            os.chown(temporary, about.st_uid, about.st_gid)
    os.chmod(temporary, stat.S_IMODE(about.st_mode))


def sync_folder(folder: Path) -> None:
    """Have the disk hold the new name too, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say of a system's error what it kept from being written, as a `TautError`."""
    try:
        yield
    except OSError as error:
        raise TautError(
            f"{path}: cannot be written ({error.strerror or error}); "
            f"what was there before is untouched{_WAY_OUT.get(error.errno or 0, '')}"
        ) from error


def _unless_there(name: Callable[[Path, Path], None], temporary: Path, path: Path) -> None:
    try:
        name(temporary, path)
    except FileExistsError:
        raise _exists(path) from None


def _exists(path: Path) -> ArgumentError:
    return ArgumentError(
        f"{path}: exists; give -f (force=True) to replace it, or write to {free_name(path)}"
    )
