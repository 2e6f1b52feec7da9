"""Which file is meant: a Taut file, or the one in a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from taut.errors import ArgumentError
from taut.io.names import check_plain, pattern_hint

SUFFIX: Final = ".taut.safetensors"


def find_file(path: str | Path) -> Path:
    """Give the Taut file that `path` is, or the one in the folder that it is.

    Raises:
        ArgumentError: nothing is there, or a folder has none or several.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ArgumentError(f"{path}: no such file or folder{pattern_hint(path)}")
        check_plain(path)
        return path
    found = sorted(entry for entry in path.iterdir() if entry.name.endswith(SUFFIX))
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found) or "none"
        raise ArgumentError(f"{path}: one file of the folder must end in {SUFFIX}; here: {names}")
    return found[0]
