"""One file to both readers: libtaut reads what Python reads, to the bit, and refuses the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.capi.library import Library, TautCError

from taut.container import TautFile
from taut.container.format import as_bytes
from taut.errors import FormatError, VerifyError

MOST = 64 << 20  # bytes of a file that is looked at; tensors may have four times as many
REFUSAL = (FormatError, VerifyError)
counts = {"same": 0, "refused": 0, "tensors": 0}


def compare(path: Path, library: Library) -> None:
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
