"""What lies in a store, as files on this machine that are fetched as they are read.

Surprise first: of a safetensors file the local one has the size, the header, and holes. Whoever
reads bytes through `StillFile` has them fetched then, by ranges of whole blocks; so a look at a
file costs its header, and a compression reads each tensor once. All other files are fetched whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taut.errors import VerifyError
from taut.io.holes import Holes, close_holes, open_holes
from taut.io.hub_staged import hub_path, hub_store
from taut.io.hub_url import hub_of
from taut.io.stores import Store, StoreFile, local_of, open_store, reaching

_HOLES: Final = ".safetensors"
_notes: dict[str, tuple[str, ...]] = {}
_urls: dict[str, str] = {}  # local folders of what is staged, or to be delivered


@contextmanager
def staged(
    url: str, *, whole: bool = False, watched: bool = True, glance: bool = False
) -> Iterator[Path]:
    """Give a local path for what a URL names; a safetensors file is fetched as it is read.

    With `whole` nothing is left for later. All of it goes away with the context, at whose end
    it is asked, if it is to be `watched`, whether what is there is still the same. What lies on the
    Hugging Face hub is fetched into the hub's own cache instead, where it stays; but for a
    `glance` at Taut files, which takes ranges of those that are not there yet.

    Raises:
        ArgumentError: nothing is there, it cannot be reached, or an extra is missing.
        VerifyError: what is there was changed meanwhile, or came with another checksum.
    """
    if (local := local_of(url)) is not None:
        yield local
        return
    hub = hub_of(url)
    store = hub_store(hub) if hub is not None and glance else None
    if hub is not None and store is None:
        found = hub_path(hub)
        with naming(found.path, url, found.notes):
            yield found.path
        return
    with _from_store(store or open_store(url), whole, watched) as given:
        yield given


@contextmanager
def _from_store(store: Store, whole: bool, watched: bool) -> Iterator[Path]:
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
                    with reaching(store.url):
                        store.system.get_file(file.path, str(path))
                    continue
                holes = open_holes(store, file, path)
                made.append(path)
                _fetch_header(holes, path, file.nbytes)
            given = base / next(iter(files)) if single else base
            with naming(given, store.url):
                yield given
            if watched:
                _check_same(store, files)
        finally:
            for path in made:
                close_holes(path)


@contextmanager
def naming(local: Path, url: str, notes: tuple[str, ...] = ()) -> Iterator[None]:
    """In texts, name a local path by the URL that it stands for (`told_paths`), for a while.

    `notes` are what is to be told of what was fetched there (`notes_of_staged`).
    """
    before = _urls.get(str(local))
    _urls[str(local)] = url.rstrip("/")
    _notes[str(local)] = notes
    try:
        yield
    finally:
        if before is None:
            _urls.pop(str(local), None)
            _notes.pop(str(local), None)
        else:
            _urls[str(local)] = before


def notes_of_staged(local: Path) -> tuple[str, ...]:
    """What is to be told of what was fetched to a local path."""
    return _notes.get(str(local), ())


def told_paths(text: str) -> str:
    """A text with URLs where it names local files that stand for them."""
    for local, url in _urls.items():
        text = text.replace(local, url)
    return text


def told_name(path: Path) -> str:
    """The last part of a path as people know it: of what lies in a store that of its URL."""
    told = told_paths(str(path))
    return path.resolve().name if told == str(path) else told.rstrip("/").rsplit("/", 1)[-1]


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
