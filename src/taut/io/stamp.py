"""Whether a file is still what it was when it was opened: size, time of change, and identity.

Surprises first. A mapped file that somebody cuts short takes the process down with SIGBUS, and one
that is written over in place gives a mix of old and new. So tensors are read, not mapped, wherever
they are all read; a map is looked at only after the file's size; and whoever read a whole model
asks `check_unchanged` before it keeps what came of it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from taut.errors import ArgumentError, TautError, VerifyError
from taut.io.arena import allocate
from taut.io.holes import holes_of, not_filling

_BLOCK: Final = 1 << 30  # bytes of one call; systems take less than 2 GiB
ANYWHERE: Final = -1  # a device, of a stamp that serves on every machine
_PIECE: Final = 1 << 20  # bytes that are copied at once
_READS: Final = hasattr(os, "preadv")  # not on Windows, where nobody can cut a mapped file short


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file was when it was opened; `mtime` in nanoseconds."""

    path: Path
    nbytes: int
    mtime: int
    device: int
    inode: int

    @property
    def elsewhere(self) -> Stamp:
        """The stamp for another machine, where a shared file has other numbers."""
        return replace(self, device=ANYWHERE, inode=0)

    def check(self) -> None:
        """Raise `VerifyError` unless the file is still the same, and as it was."""
        try:
            with not_filling(self.path):
                now = _stamp(self.path, os.stat(self.path))
        except OSError as error:
            raise changed(self.path, f"it cannot be found any more: {error.strerror}") from None
        if now.nbytes != self.nbytes:
            raise changed(self.path, f"it had {self.nbytes} bytes, and now has {now.nbytes}")
        if self.device != ANYWHERE and (now.device, now.inode) != (self.device, self.inode):
            raise changed(self.path, "another file took its place")
        if now.mtime != self.mtime:
            raise changed(self.path, "it was written to")


def check_unchanged(stamps: Iterable[Stamp]) -> None:
    """Raise `VerifyError` unless every file is as it was when it was opened; names the first."""
    for stamp in stamps:
        stamp.check()


@contextlib.contextmanager
def blaming_changes(stamps: Iterable[Stamp]) -> Iterator[None]:
    """Of what fails while files change, say that they changed: it may be why it failed.

    Raises:
        VerifyError: the body failed, and one of the files is not as it was opened.
    """
    try:
        yield
    except TautError:
        check_unchanged(stamps)
        raise


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file that others read.

    Raises:
        OSError: there is no such file.
    """
    return _stamp(path, os.stat(path))


def changed(path: Path | str, how: str) -> VerifyError:
    """The error that says of a file that it did not hold still."""
    return VerifyError(
        f"{path}: changed while it was read ({how}); try again when nobody writes to it"
    )


class StillFile:
    """An open file that notices when it does not stay as it is; `nbytes` is its size at the start.

    Raises:
        ArgumentError: it cannot be opened, or is no plain file.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._where = where
        try:
            self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise ArgumentError(f"{where}: cannot be read ({error.strerror})") from error
        self._closing = weakref.finalize(self, os.close, self._handle)
        self.stamp = _stamp(path, os.fstat(self._handle))
        self.nbytes = self.stamp.nbytes
        self._map: mmap.mmap | bytes | None = None
        self._holes = holes_of(path)

    def fetch(self, begin: int, end: int) -> None:
        """Have the bytes between on this machine, where the file lies in a store (staged.py)."""
        self._check_open()
        if self._holes is not None:
            self._holes.fill(begin, end)

    def read(self, begin: int, end: int) -> np.ndarray:
        """A copy of the bytes from `begin` to `end`, in memory of its own.

        Raises:
            VerifyError: the file was cut short.
        """
        (found,) = allocate([end - begin])
        self.read_into(found, begin)
        return found

    def read_into(self, out: np.ndarray, begin: int) -> None:
        """Fill a uint8 array with the bytes from `begin` on.

        Raises:
            VerifyError: the file was cut short.
        """
        self.fetch(begin, begin + out.size)
        if not _READS:
            out[:] = np.frombuffer(self.map, np.uint8, out.size, begin)
            return
        view, at, end = out.data, 0, begin + out.size
        while at < len(view):
            try:
                count = os.preadv(self._handle, [view[at : at + _BLOCK]], begin + at)
            except OSError as error:
                raise changed(self._where, str(error)) from error
            if not count:
                self.check_size()
                raise changed(self._where, f"it ends before byte {end}")
            at += count

    @property
    def map(self) -> mmap.mmap | bytes:
        """The file, mapped; only what `check_size` was called for a moment ago is safe to touch.

        Of a file in a store it has what was fetched (`fetch`), and zeros.

        Raises:
            VerifyError: the file was cut short.
        """
        self.check_size()
        if self._map is None:
            try:
                self._map = (
                    mmap.mmap(self._handle, self.nbytes, access=mmap.ACCESS_READ)
                    if self.nbytes
                    else b""
                )
            except OSError as error:
                raise ArgumentError(f"{self._where}: cannot be read ({error.strerror})") from error
            except ValueError as error:  # it shrank in between
                raise changed(self._where, str(error)) from None
        return self._map

    def check_still(self) -> None:
        """Raise `VerifyError` if the open file has another size, or was written to."""
        self._check_open()
        with not_filling(self.stamp.path):
            about = os.fstat(self._handle)
        if (about.st_size, about.st_mtime_ns) != (self.nbytes, self.stamp.mtime):
            raise changed(self._where, "it was written to")

    def check_size(self) -> None:
        """Raise `VerifyError` if the file is shorter than it was."""
        self._check_open()
        now = os.fstat(self._handle).st_size
        if now < self.nbytes:
            raise changed(self._where, f"it had {self.nbytes} bytes, and now has {now}")

    def close(self) -> None:
        """Let go of the file now, and not when nobody holds it; reading it is an error then."""
        self._map = None
        self._closing()

    def _check_open(self) -> None:
        if not self._closing.alive:
            raise ArgumentError(f"{self._where}: is closed; open it again")


def copied(values: np.ndarray, where: str) -> np.ndarray:
    """A copy of an array that lies in a mapped file, C-contiguous.

    The system makes it, through a file that has no name: to it a page that is gone is an error,
    where for us it would be SIGBUS.

    Raises:
        VerifyError: the mapped file was cut short.
    """
    if not _READS:
        return values.copy()
    bits = values.reshape(-1).view(np.uint8)
    (found,) = allocate([bits.nbytes])
    with tempfile.TemporaryFile(buffering=0) as file:
        for begin in range(0, bits.nbytes, _PIECE):
            block = bits[begin : begin + _PIECE]
            try:
                whole = os.pwrite(file.fileno(), block.data, 0) == block.nbytes
            except OSError as error:
                if error.errno != errno.EFAULT:
                    raise TautError(f"{where}: cannot be copied ({error.strerror})") from error
                whole = False
            if not whole:
                raise changed(where, "it was cut short")
            os.preadv(file.fileno(), [found[begin : begin + _PIECE].data], 0)
    return found.view(values.dtype).reshape(values.shape)


def _stamp(path: Path, about: os.stat_result) -> Stamp:
    return Stamp(path, about.st_size, about.st_mtime_ns, about.st_dev, about.st_ino)
