"""What lies in a store, as files on this machine that are fetched as they are read.

Surprise first: of a safetensors file the local one has the size, the header, and holes. Whoever
reads bytes through `StillFile` has them fetched then, by ranges of whole blocks; so a look at a
file costs its header, and a compression reads each tensor once. All other files are fetched whole.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taut.errors import VerifyError
from taut.io.stores import Store, StoreFile, local_of, open_store, reaching

_BLOCK: Final = 1 << 20
_MOST: Final = 1 << 26  # bytes of one request
_HOLES: Final = ".safetensors"
_open: dict[Path, Holes] = {}
_urls: dict[str, str] = {}  # local folders of what is staged, or to be delivered


class Holes:
    """A local file whose blocks are fetched when they are wanted; any number of threads may ask."""

    def __init__(self, store: Store, file: StoreFile, local: Path) -> None:
        self._store, self._file, self._local = store, file, local
        self._blocks = bytearray(-(-file.nbytes // _BLOCK))
        self.lock = threading.Lock()  # while it is held, the local file does not change
        with local.open("wb") as made:
            made.truncate(file.nbytes)
        self._times = (local.stat().st_atime_ns, local.stat().st_mtime_ns)

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


def holes_of(path: Path) -> Holes | None:
    """What fetches the blocks of a local file; None of an ordinary file."""
    return _open.get(path) if _open else None


@contextmanager
def not_filling(path: Path) -> Iterator[None]:
    """Let nothing be fetched into a local file for a moment: its times are what they were."""
    holes = holes_of(path)
    with contextlib.nullcontext() if holes is None else holes.lock:
        yield


@contextmanager
def staged(url: str, *, whole: bool = False, watched: bool = True) -> Iterator[Path]:
    """Give a local path for what a URL names; a safetensors file is fetched as it is read.

    With `whole` nothing is left for later. All of it goes away with the context, at whose end
    it is asked, if it is to be `watched`, whether what is there is still the same.

    Raises:
        ArgumentError: nothing is there, it cannot be reached, or an extra is missing.
        VerifyError: what is there was changed meanwhile.
    """
    if (local := local_of(url)) is not None:
        yield local
        return
    store = open_store(url)
    files = store.files()
    with tempfile.TemporaryDirectory(prefix="taut-") as folder:
        root = Path(os.path.realpath(folder))
        single = store.is_file()
        base = root if single else root / (store.path.rstrip("/").rsplit("/", 1)[-1] or "model")
        made: list[Path] = []
        try:
            for name, file in files.items():
                path = base / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if whole or not name.endswith(_HOLES):
                    with reaching(url):
                        store.system.get_file(file.path, str(path))
                    continue
                _open[path] = Holes(store, file, path)
                made.append(path)
                _fetch_header(_open[path], path, file.nbytes)
            given = base / next(iter(files)) if single else base
            with naming(given, url):
                yield given
            if watched:
                _check_same(store, files)
        finally:
            for path in made:
                _open.pop(path, None)


@contextmanager
def naming(local: Path, url: str) -> Iterator[None]:
    """In texts, name a local path by the URL that it stands for (`told_paths`), for a while."""
    _urls[str(local)] = url.rstrip("/")
    try:
        yield
    finally:
        _urls.pop(str(local), None)


def told_paths(text: str) -> str:
    """A text with URLs where it names local files that stand for them."""
    for local, url in _urls.items():
        text = text.replace(local, url)
    return text


def _fetch_header(holes: Holes, path: Path, nbytes: int) -> None:
    """The length of a safetensors header, and the header."""
    holes.fill(0, min(8, nbytes))
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    holes.fill(0, min(8 + length, nbytes))


def _check_same(store: Store, files: dict[str, StoreFile]) -> None:
    if store.files() != files:
        raise VerifyError(
            f"{store.url}: changed while it was read; try again when nobody writes to it"
        )
