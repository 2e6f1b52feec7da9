"""Temporary files and folders beside a destination, each of one writer, cleared when it is dead.

    model.taut.safetensors.9f86d081884c7d65.tmp         a file in the making, held by its writer
    (none)                                              the same, where files need no name
    folder.60303ae22b998861.tmp/lock                    what the writer of a folder holds
    folder.60303ae22b998861.tmp/work/                   what it makes

Surprises first. No two writers share a temporary: its name is new, and made by O_EXCL. A writer
holds a lock on it, which the system takes away when the process ends, however it ends; so whoever
gets the lock knows that the writer is dead, and may remove what it left. On Windows a file that is
open cannot be removed, which says the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from pathlib import Path
from typing import Final

from taut.container.hold import hold, is_at
from taut.container.nameless import give_name, open_nameless
from taut.errors import TautError

WORK: Final = "work"
_LOCK: Final = "lock"
_TOKEN: Final = 8  # bytes that no two writers draw alike
_END: Final = re.compile(rf"\.[0-9a-f]{{{2 * _TOKEN}}}\.tmp")
_LONGEST: Final = 255 - 2 * _TOKEN - len("..tmp")  # bytes of a name; file systems take 255
_TRIES: Final = 100  # a clearer may hold what was just made, for a moment
_WINDOWS: Final = os.name == "nt"
_FLAGS: Final = (
    os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)  # fmt: skip


def is_temporary(name: str, of: str) -> bool:
    """Whether a file's name is that of a temporary of a file called `of`.

    >>> is_temporary("net.onnx.9f86d081884c7d65.tmp", "net.onnx")
    True
    >>> is_temporary("net.onnx.bak.tmp", "net.onnx")
    False
    """
    stem = _stem(of)
    return name.startswith(stem) and _END.fullmatch(name, len(stem)) is not None


def new_file(path: Path, mode: int) -> tuple[Path | None, int]:
    """Make a temporary file beside `path` and hold it; gives its path, and it open.

    It has no path where the system has files without a name; `named` gives it one. Temporaries of
    `path` whose writers are dead are removed first. `mode` is as `os.open` takes it.

    Raises:
        OSError: it cannot be made.
    """
    clear(path)
    nameless = open_nameless(_new_name(path), mode)
    if nameless is not None:
        hold(nameless)
        return None, nameless
    for _ in range(_TRIES):
        temporary = _new_name(path)
        with contextlib.suppress(FileExistsError):
            handle = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, mode)
            if _WINDOWS or (hold(handle) is not False and is_at(handle, temporary)):
                return temporary, handle
            os.close(handle)
    raise _lost(path)


def named(path: Path, handle: int) -> Path:
    """Give the temporary file of `path` that was made without a name one, and tell it.

    Raises:
        OSError: the system refused.
    """
    temporary = _new_name(path)
    give_name(handle, temporary)
    return temporary


def new_folder(path: Path) -> tuple[Path, int]:
    """Make a temporary folder beside `path` with an empty folder `WORK` in it, as `new_file`.

    Raises:
        OSError: it cannot be made.
    """
    clear(path)
    for _ in range(_TRIES):
        folder = _new_name(path)
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            folder.mkdir(0o700)  # what replaces a private file is private too
            handle = os.open(folder / _LOCK, _FLAGS | os.O_CREAT, 0o666)
            if hold(handle) is not False and is_at(handle, folder / _LOCK):
                (folder / WORK).mkdir()
                return folder, handle
            os.close(handle)
    raise _lost(path)


def remove_folder(folder: Path, handle: int) -> None:
    """Remove a temporary folder that is held as `handle`, and let go of it."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    if not _WINDOWS:  # the lock goes last, and is held until it has gone
        shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)
    if _WINDOWS:  # where an open file cannot be removed
        shutil.rmtree(folder, ignore_errors=True)


def clear(path: Path) -> None:
    """Remove the temporaries of `path` whose writers are dead; what cannot be removed stays."""
    try:
        names = [name for name in os.listdir(path.parent) if is_temporary(name, path.name)]
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            _clear_one(path.with_name(name))


def _clear_one(temporary: Path) -> None:
    mode = os.stat(temporary, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        lock = temporary / _LOCK
        handle = os.open(lock, _FLAGS | os.O_CREAT, 0o666)
        if hold(handle) and is_at(handle, lock):
            remove_folder(temporary, handle)
        else:
            os.close(handle)
    elif stat.S_ISREG(mode):
        if _WINDOWS:
            temporary.unlink()  # refused while its writer has it open
            return
        handle = os.open(temporary, _FLAGS)
        try:
            if hold(handle) and is_at(handle, temporary):
                temporary.unlink()
        finally:
            os.close(handle)


def _new_name(path: Path) -> Path:
    return path.with_name(f"{_stem(path.name)}.{secrets.token_hex(_TOKEN)}.tmp")


def _stem(name: str) -> str:
    """The name, cut where the temporary's own would be too long."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else encoded[:_LONGEST].decode(errors="ignore")


def _lost(path: Path) -> TautError:
    return TautError(f"{path}: its temporary files are removed as soon as they are made; by whom?")
