"""A pytest plugin that shows libtaut every Taut file that any test opens, and compares the readers.

    export TAUT_LIBRARY=build/capi/libtaut.so
    python -m pytest -p tests.capi.shadow tests/container tests/attacks

A file that Python reads is read by libtaut to the same bits, tensor by tensor; what Python refuses,
libtaut refuses. A test that opens a file on which the two differ fails.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tests.capi.compare import MOST, compare, counts
from tests.capi.library import Library

from taut.container import TautFile
from taut.errors import ArgumentError

_library = Library(Path(os.environ["TAUT_LIBRARY"]))
_open = TautFile.__init__
_seen: set[bytes] = set()
_busy = False


def _is_whole(file: Path) -> bool:
    """Whether all of a file is there: what is read from a store is fetched as it is asked for."""
    stat = file.stat()
    return 0 < stat.st_size <= MOST and getattr(stat, "st_blocks", 1 << 40) * 512 >= stat.st_size


def _shadowed(self: TautFile, path: str | Path, **options: Any) -> None:
    global _busy
    file = Path(path)
    if not _busy and file.is_file() and _is_whole(file):
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
        if digest not in _seen:
            _seen.add(digest)
            _busy = True
            try:
                compare(file, _library)
            except ArgumentError:
                pass
            finally:
                _busy = False
    _open(self, path, **options)


TautFile.__init__ = _shadowed  # type: ignore[method-assign]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many files were compared."""
    terminalreporter.write_line(f"libtaut: {counts}")
