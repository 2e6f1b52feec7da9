"""A local file of a store, whose blocks are fetched when somebody reads them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taut.errors import VerifyError
from taut.io.stores import Store, StoreFile, reaching

_BLOCK: Final = 1 << 20
_MOST: Final = 1 << 26  # bytes of one request
_open: dict[Path, Holes] = {}


class Holes:
    """A local file whose blocks are fetched when they are wanted; any number of threads may ask."""

    def __init__(self, store: Store, file: StoreFile, local: Path) -> None:
        self._store, self._file, self._local = store, file, local
        self._blocks = bytearray(-(-file.nbytes // _BLOCK))
        self.lock = threading.Lock()  # while it is held, the local file does not change
        with local.open("wb") as made:
            made.truncate(file.nbytes)
        self._times = (local.stat().st_atime_ns, local.stat().st_mtime_ns)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return self._file.nbytes

    def fill(self, begin: int, end: int) -> None:
        """Fetch what lies between two bytes, unless it is there.

        Raises:
            ArgumentError: the store cannot be reached.
            VerifyError: the file there is shorter than it was.
        """
        with self.lock:
            last = -(-min(end, self._file.nbytes) // _BLOCK)
            first = begin // _BLOCK
            while first < last:
                if self._blocks[first]:
                    first += 1
                    continue
                stop = first
                while stop < last and not self._blocks[stop] and (stop - first) * _BLOCK < _MOST:
                    stop += 1
                self._fetch(first, stop)
                first = stop

    def _fetch(self, first: int, stop: int) -> None:
        begin, end = first * _BLOCK, min(stop * _BLOCK, self._file.nbytes)
        with reaching(self._store.url):
            data = self._store.system.cat_file(self._file.path, start=begin, end=end)
        if len(data) != end - begin:
            raise VerifyError(
                f"{self._store.url}: changed while it was read (it gave {len(data)} bytes of "
                f"{end - begin} at {begin}); try again when nobody writes to it"
            )
        with self._local.open("r+b") as file:
            file.seek(begin)
            file.write(data)
        os.utime(self._local, ns=self._times)  # to whoever watches the file it has not changed
        self._blocks[first:stop] = bytes([1]) * (stop - first)


def open_holes(store: Store, file: StoreFile, local: Path) -> Holes:
    """Make a local file of holes, which `StillFile` has filled until `close_holes`."""
    _open[local] = Holes(store, file, local)
    return _open[local]


def close_holes(local: Path) -> None:
    """Fetch nothing more into a local file."""
    _open.pop(local, None)


def holes_of(path: Path) -> Holes | None:
    """What fetches the blocks of a local file; None of an ordinary file."""
    return _open.get(path) if _open else None


def fill_holes(path: Path) -> None:
    """Fetch all of a file, or of the files in a folder, for those who read them by themselves.

    Raises:
        ArgumentError: the store cannot be reached.
        VerifyError: a file there is shorter than it was.
    """
    for local, holes in list(_open.items()):
        if local == path or path in local.parents:
            holes.fill(0, holes.nbytes)


@contextmanager
def not_filling(path: Path) -> Iterator[None]:
    """Let nothing be fetched into a local file for a moment: its times are what they were."""
    holes = holes_of(path)
    with contextlib.nullcontext() if holes is None else holes.lock:
        yield
