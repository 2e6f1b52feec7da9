"""Holds an open file for as long as it is open: the system lets go when the process ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

_UNSUPPORTED: Final = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)


def hold(handle: int) -> bool | None:
    """Whether an open file is ours now; False: somebody else's; None: there are no locks here.

    It counts for the open file, not for the process: two threads that opened one file differ.

    Raises:
        OSError: the file system refused for another reason.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that `path` names, not through a link."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
