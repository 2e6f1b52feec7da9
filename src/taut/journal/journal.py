"""The finished pieces of long work, on disk beside the file to come, so that it can be resumed.

    model.taut.safetensors.journal/
        taut-journal.json    what the work is made from: the marker that the folder is ours
        taut.lock            the process at work, while it is
        work/                files that are finished, or in the making
        <hash of key>.safetensors, ...

A journal goes on only with the very work that it was begun for: anything else fails closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from taut.container import AtomicFile, is_temporary
from taut.container.schema import get_object, load_json
from taut.errors import ArgumentError, FormatError, TautError
from taut.io.identity import plan_identity
from taut.journal.lock import Lock
from taut.journal.piece import map_piece, open_plain, piece_name, read_piece, write_piece
from taut.machine.closing import Closing

MARKER: Final = "taut-journal.json"
LOCK: Final = "taut.lock"
WORK: Final = "work"
_VERSION: Final = 1
_LARGEST: Final = 1 << 20  # bytes of a marker
_PIECE: Final = re.compile(r"[0-9a-f]{32}\.safetensors")
_SHORT: Final = 16  # characters of a value that a message can show; digests say nothing to anybody
_ANEW: Final = "delete it, or run without --resume (resume=False) to start afresh"


def journal_folder(dst: Path) -> Path:
    """Where the journal of a file or folder is: beside it, through symbolic links.

    >>> journal_folder(Path("/models/small.taut.safetensors")).name
    'small.taut.safetensors.journal'
    """
    return Path(f"{os.path.realpath(dst)}.journal")


class Journal(Closing):
    """Finished pieces of a long compression, on disk beside the file to come.

    A context manager that lets go of the folder and leaves it on disk; `discard` removes it.
    `resumed` says whether an earlier run's pieces were taken over, `dropped` counts the pieces
    that a crash tore or that are damaged: they are removed, and to be done again.

    >>> import tempfile
    >>> dst = Path(tempfile.mkdtemp(), "small.taut.safetensors")
    >>> with Journal.open(dst, {"model": "5d41", "seed": "0"}, resume=True) as journal:
    ...     journal.put("layer.0", levels=np.arange(3))
    >>> with Journal.open(dst, {"model": "5d41", "seed": "0"}, resume=True) as journal:
    ...     journal.resumed, journal.get("layer.0"), journal.get("layer.1")
    (True, {'levels': array([0, 1, 2])}, None)
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], lock: Lock, resume: bool) -> None:
        self.folder = folder
        self.dropped = 0
        self._lock = lock
        self._seal = plan_identity(identity)
        self._pieces: set[str] = set()
        before = _read_marker(folder)
        self.resumed = resume and before is not None
        if before is not None and resume:
            _check_same(folder, before, identity)
            self._collect()
        else:
            self._clear()
            _write_marker(folder, identity)

    @classmethod
    def open(cls, dst: Path, identity: Mapping[str, str], *, resume: bool) -> Journal:
        """Open the journal of `dst`: with `resume` the one that is there, if any, else a new one.

        `identity` names the parts that the work is made from, each with a text that is another
        for another part: {"model": model_identity(source), "seed": "0", ...}.

        Raises:
            ArgumentError: what is there is of other work, is no journal, or is in use; nothing
                was changed.
            TautError: the folder cannot be written.
        """
        folder = journal_folder(dst)
        try:
            _check_ours(folder)
            with contextlib.ExitStack() as undo:
                lock = Lock(folder / LOCK)
                undo.callback(_leave, lock)
                _check_ours(folder)  # it may have come in between
                journal = cls(folder, identity, lock, resume)
                undo.pop_all()
        except OSError as error:
            raise TautError(f"{folder}: cannot be used ({error.strerror})") from error
        return journal

    @property
    def done(self) -> frozenset[str]:
        """The keys of all pieces that are there, whole."""
        return frozenset(self._pieces)

    @property
    def work(self) -> Path:
        """A folder for files of the work, which goes when the journal does."""
        folder = self.folder / WORK
        folder.mkdir(exist_ok=True)
        return folder

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """A piece's arrays by name, in the order of `put`; None if it is not there."""
        if key not in self._pieces:
            return None
        path = self.folder / piece_name(key)
        try:
            return read_piece(path, self._seal)[1]
        except (TautError, OSError):  # it was whole when the journal was opened
            self._drop(path)
            self._pieces.remove(key)
            return None

    def mapped(self, key: str) -> dict[str, np.ndarray] | None:
        """A piece's arrays as maps of its file, read-only; None if it is not there.

        They take no memory, and last when the piece is removed. Damage since the journal was opened
        is not seen. On Windows, where a mapped file cannot be removed, they are read.
        """
        if key not in self._pieces:
            return None
        if os.name == "nt":
            return self.get(key)
        try:
            return map_piece(self.folder / piece_name(key))
        except (TautError, OSError):
            return self.get(key)

    def put(self, key: str, /, **arrays: np.ndarray) -> None:
        """Keep a piece, in one step and for good; one of the same key is replaced.

        Raises:
            ArgumentError: an array's dtype or name cannot be written, or the journal was closed.
            TautError: the disk is full; all earlier pieces are whole.
        """
        if not self._lock.held:
            raise ArgumentError(f"{self.folder}: was closed; open it again to put more in")
        write_piece(self.folder / piece_name(key), self._seal, key, arrays)
        self._pieces.add(key)

    def forget(self, prefix: str) -> None:
        """Remove all pieces whose keys begin with `prefix`."""
        for key in [key for key in self._pieces if key.startswith(prefix)]:
            _unlink(self.folder / piece_name(key))
            self._pieces.remove(key)

    def discard(self) -> None:
        """Remove the journal: the work is done. What is not Taut's in its folder stays."""
        self._clear()
        _unlink(self.folder / MARKER)
        _leave(self._lock)

    def close(self) -> None:
        """Let others open the journal; the pieces stay."""
        self._lock.release()

    def _collect(self) -> None:
        """Find the pieces that are there, and drop what is none."""
        for name in sorted(os.listdir(self.folder)):
            path = self.folder / name
            if _PIECE.fullmatch(name):
                try:
                    key: str | None = read_piece(path, self._seal, keep=False)[0]
                except (TautError, OSError):
                    key = None
                if key is not None and piece_name(key) == name:
                    self._pieces.add(key)
                else:
                    self._drop(path)
            elif _torn_piece(name):
                self._drop(path)

    def _drop(self, path: Path) -> None:
        _unlink(path)
        self.dropped += 1

    def _clear(self) -> None:
        self._pieces.clear()
        with contextlib.suppress(OSError):  # not there; or a link, which is not followed
            shutil.rmtree(self.folder / WORK)
        for name in os.listdir(self.folder):
            if _PIECE.fullmatch(name) or _torn_piece(name) or is_temporary(name, MARKER):
                _unlink(self.folder / name)


def _torn_piece(name: str) -> bool:
    """Whether a file is what a crash left of a piece; nobody else writes while we have the lock."""
    piece = _PIECE.match(name)
    return piece is not None and is_temporary(name, piece.group())


def _check_ours(folder: Path) -> None:
    """A folder is ours if it has our marker, or nothing yet but what comes before the marker."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        names = []
    except NotADirectoryError:
        names = [folder.name]
    begun = MARKER in names or all(name == LOCK or is_temporary(name, MARKER) for name in names)
    if begun and not folder.is_symlink():
        return
    raise ArgumentError(
        f"{folder}: is in the place of the journal, but is none; move it away, or name another dst"
    )


def _read_marker(folder: Path) -> dict[str, str] | None:
    """The identity in a journal's marker; None if there is no marker."""
    path = folder / MARKER
    if not os.path.lexists(path):
        return None
    try:
        with open_plain(path) as file:
            tree = get_object(load_json(file.read(_LARGEST), MARKER), MARKER)
        identity = get_object(tree.get("identity"), "identity")
    except (FormatError, OSError):
        tree, identity = {}, {}
    found = {name: value for name, value in identity.items() if isinstance(value, str)}
    if tree.get("taut journal") != _VERSION or found != identity:
        raise ArgumentError(f"{path}: is damaged, or of another version; delete {folder}")
    return found


def _write_marker(folder: Path, identity: Mapping[str, str]) -> None:
    tree = {"taut journal": _VERSION, "identity": dict(sorted(identity.items()))}
    with AtomicFile(folder / MARKER, force=True) as file:
        file.write(json.dumps(tree, indent=1).encode())
        file.commit()


def _check_same(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    parts = [*now, *(name for name in before if name not in now)]
    other = [
        name + _shown(before.get(name, "none"), now.get(name, "none"))
        for name in parts
        if before.get(name) != now.get(name)
    ]
    if other:
        raise ArgumentError(f"{folder}: was begun with another {', '.join(other)}; {_ANEW}")


def _shown(before: str, now: str) -> str:
    short = all(len(text) <= _SHORT and text.isprintable() for text in (before, now))
    return f" ({before} then, {now} now)" if short else ""


def _unlink(path: Path) -> None:
    """Remove a file, or a link itself; what cannot be removed is never read either."""
    with contextlib.suppress(OSError):
        path.unlink()


def _leave(lock: Lock) -> None:
    """Let go of a folder, and remove it if nothing is left in it."""
    lock.release()
    with contextlib.suppress(OSError):
        lock.path.parent.rmdir()
