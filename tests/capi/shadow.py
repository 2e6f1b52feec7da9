"""A pytest plugin that shows libtaut every Taut file that any test opens, and compares the two readers.

    TAUT_LIBRARY=build/capi/libtaut.so python -m pytest -p tests.capi.shadow tests/container tests/attacks

A file that Python reads is read by libtaut to the same bits, tensor by tensor; what Python refuses,
libtaut refuses. A test that opens a file on which the two differ fails.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tests.capi.library import Library, TautCError

from taut.container import TautFile
from taut.container.format import as_bytes
from taut.errors import ArgumentError, FormatError, VerifyError

MOST = 64 << 20  # bytes of a file that is looked at
REFUSAL = (FormatError, VerifyError)

_library = Library(Path(os.environ["TAUT_LIBRARY"]))
_open = TautFile.__init__
_seen: set[bytes] = set()
_busy = False
counts = {"same": 0, "refused": 0, "tensors": 0}


def compare(path: Path, library: Library = _library) -> None:
    """Read a file with both; AssertionError where they differ."""
    data = path.read_bytes()
    expected: Any = None
    try:
        expected = TautFile(path)
    except REFUSAL as error:
        try:
            library.open_bytes(data)
        except TautCError:
            counts["refused"] += 1
            return
        raise AssertionError(f"{path}: libtaut opens what Python refuses: {error}") from None
    found = library.open_bytes(data)
    assert list(found.tensors) == list(expected), path
    for info in expected.infos:
        if info.nbytes > 4 * MOST:
            continue
        counts["tensors"] += 1
        assert found.shape(info.name) == info.shape, (path, info)
        assert found.tensors[info.name].dtype.decode() == info.dtype, (path, info)
        try:
            values = as_bytes(expected[info.name]).tobytes()
        except REFUSAL as error:
            try:
                found.decode(info.name)
            except TautCError:
                continue
            raise AssertionError(f"{path}: {info.name}: libtaut decodes it; {error}") from None
        assert found.decode(info.name) == values, (path, info)
    assert found.attributes() == {k: dict(v) for k, v in expected.modules.items() if v}, path
    counts["same"] += 1


def _shadowed(self: TautFile, path: str | Path, **options: Any) -> None:
    global _busy
    file = Path(path)
    if not _busy and file.is_file() and 0 < file.stat().st_size <= MOST:
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
        if digest not in _seen:
            _seen.add(digest)
            _busy = True
            try:
                compare(file)
            except ArgumentError:
                pass
            finally:
                _busy = False
    _open(self, path, **options)


TautFile.__init__ = _shadowed  # type: ignore[method-assign]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many files were compared."""
    terminalreporter.write_line(f"libtaut: {counts}")
