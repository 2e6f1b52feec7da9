"""Files without a name (Linux's O_TMPFILE): of a writer that dies, however it dies, nothing stays.

    handle = open_nameless(folder, 0o600)     None: this system or file system has no such files
    path_of(handle)                           /proc/self/fd/7: by which this process can read it
    give_name(handle, folder / "x.tmp")       from now on it is a file like any other

Surprises first. A file without a name cannot replace one that has a name, so what is to be replaced
is replaced by a rename, from a name beside it that lasts for a moment. Whether a name can be given
at the end is tried at the beginning, on an empty file, before any work is put into it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_FLAG: Final = getattr(os, "O_TMPFILE", 0)
_HANDLES: Final = "/proc/self/fd"


def open_nameless(trial: Path, mode: int) -> int | None:
    """Open a new file without a name in the folder of `trial`, for reading and writing.

    `trial` is a free name, for a moment taken by an empty file. `mode` is as `os.open` takes it.
    None where names cannot be given later: the kernel, the file system (network ones, mostly), or
    the sandbox does not have it.
    """
    if not _FLAG:
        return None
    try:
        empty = os.open(trial.parent, _FLAG | os.O_RDWR, 0o600)
        try:
            give_name(empty, trial)
        finally:
            os.close(empty)
        with contextlib.suppress(FileNotFoundError):
            trial.unlink()
        return os.open(trial.parent, _FLAG | os.O_RDWR, mode)
    except OSError:
        return None


def path_of(handle: int) -> Path:
    """A path by which this process, and no other, can open what `handle` has open."""
    return Path(_HANDLES, str(handle))


def give_name(handle: int, path: Path) -> None:
    """Give an open file without a name its first one, which must be free.

    Raises:
        OSError: the name is taken, or the system refused.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder given, `os.link` follows the link that stands in /proc
        os.link(path_of(handle), path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
