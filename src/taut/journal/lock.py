"""One process at a time: a lock file that stops to count when the process that took it dies."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from taut.container.hold import hold, is_at
from taut.errors import ArgumentError, TautError

_HAS_FLOCK = find_spec("fcntl") is not None  # not on Windows
_FLAGS: Final = (
    os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)  # fmt: skip
_TRIES: Final = 100
_PAUSE: Final = 0.01  # seconds between tries
_TURN: Final = 0.1  # seconds in which a process that found a dead one's lock has removed it
_SLACK: Final = 60.0  # seconds by which a clock that was set may move a process's start


class Lock:
    """Holds `path`, in a folder that is made if it is missing, until `release`.

    Where there is flock, the system itself lets go when the process ends. Elsewhere the file says
    which process took it and when that one began, so that neither a dead process nor another
    that got its number holds anything.

    Raises:
        ArgumentError: another process, or another `Lock` of this one, holds it; or it is a link.
        TautError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = os.getpid()
        try:
            self._handle = _take(path)
        except OSError as error:
            raise TautError(f"{path}: cannot be written ({error.strerror})") from error

    @property
    def held(self) -> bool:
        """Whether it was not released."""
        return self._handle >= 0

    def release(self) -> None:
        """Let go; the file goes too."""
        if self.held:
            handle, self._handle = self._handle, -1
            if os.getpid() != self._owner:  # a fork: the lock is still its parent's
                os.close(handle)
            else:
                _give_back(handle, self.path)

    def __del__(self) -> None:
        """Let go of what was forgotten, so that the same process can take it again."""
        if getattr(self, "_handle", -1) >= 0:
            self.release()


def _take(path: Path) -> int:
    for _ in range(_TRIES):  # whoever held it may remove file and folder at any moment
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _try(path)
            if handle is not None:
                return handle
        time.sleep(_PAUSE)
    raise TautError(f"{path}: comes and goes; another process does the same work")


def _try(path: Path) -> int | None:
    """The open file, if it is ours now; None: look again."""
    if path.is_symlink():
        raise ArgumentError(f"{path}: is a link, which no lock is; remove it")
    if _HAS_FLOCK:
        handle = os.open(path, _FLAGS | os.O_CREAT, 0o666)
        try:
            taken = _flock(handle, path)
        except BaseException:
            os.close(handle)
            raise
        if taken:
            _sign(handle, path)
            return handle
        os.close(handle)
        if taken is False:
            return None
    return _try_plain(path)


def _flock(handle: int, path: Path) -> bool | None:
    """Whether an open file is locked now and still the one at `path`; None: there is no flock."""
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        raise ArgumentError(f"{path}: is a link or no plain file, which no lock is; remove it")
    held = hold(handle)
    if held is False:
        raise _taken(path, os.read(handle, 100))
    return None if held is None else is_at(handle, path)


def _try_plain(path: Path) -> int | None:
    """As `_try`, by the file's being there alone.

    Two that find the lock of a dead process at once may both remove it, the second one what the
    first one made: so whoever made a file looks again, once the others must have had their turn.
    """
    try:
        handle = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        _remove_stale(path)
        return None
    _sign(handle, path)
    time.sleep(_TURN)
    if is_at(handle, path):
        return handle
    os.close(handle)
    return None


def _remove_stale(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):  # FileNotFoundError, where it is just gone
        raise ArgumentError(f"{path}: is no plain file, which a lock is; remove it")
    with path.open("rb") as file:
        owner = file.read(100)
        young = time.time() - os.fstat(file.fileno()).st_mtime < _TURN * 5
    if _alive(owner):
        raise _taken(path, owner)
    if not owner and young:  # it is being signed
        return
    try:
        path.unlink()
    except PermissionError:  # Windows: somebody has it open
        raise _taken(path, owner) from None


def _give_back(handle: int, path: Path) -> None:
    if os.name == "nt":  # where an open file cannot be removed
        os.close(handle)
    with contextlib.suppress(OSError):
        path.unlink()
    if os.name != "nt":  # after the removal, so that nobody takes a file that then goes
        os.close(handle)


def _sign(handle: int, path: Path) -> None:
    """Say in the file whose it is; where that cannot be written, give it back."""
    process = psutil.Process()
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{process.pid} {process.create_time():.2f}\n".encode())
    except BaseException:
        _give_back(handle, path)
        raise


def _alive(owner: bytes) -> bool:
    """Whether the process that signed so still runs, and is not another with its number."""
    try:
        pid, began = owner.split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(began)) < _SLACK
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (ValueError, OverflowError, psutil.NoSuchProcess):
        return False


def _taken(path: Path, owner: bytes) -> ArgumentError:
    first = owner.split()[:1]
    who = f"process {first[0].decode()}" if first and first[0].isdigit() else "another process"
    return ArgumentError(f"{path.parent}: {who} is at work on it; wait until it ends, or end it")
