"""Which file is meant: a Taut file, an index of several, or the one of these in a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.io.names import check_plain, nearest, pattern_hint
from taut.io.stores import store_hint
from taut.io.tree import TREE_NAME

if TYPE_CHECKING:
    from taut.io import Source

SUFFIX: Final = ".taut.safetensors"
INDEX_SUFFIX: Final = f"{SUFFIX}.index.json"
TREE_SUFFIX: Final = ".taut.tree.json"
TAUT_SUFFIXES: Final = (SUFFIX, INDEX_SUFFIX, TREE_SUFFIX)


def as_path(given: object, what: str = "a Taut file") -> Path:
    """The path that a caller names `what` by.

    Raises:
        ArgumentError: it is something else, as a network or a dict.

    >>> as_path({})
    Traceback (most recent call last):
    taut.errors.ArgumentError: a dict is not the path of a Taut file; give a str or a Path
    """
    if not isinstance(given, (str, os.PathLike)):
        raise ArgumentError(
            f"a {type(given).__name__} is not the path of {what}; give a str or a Path"
        )
    return Path(given)


def find_file(path: str | Path) -> Path:
    """Give the Taut file, or the index or table of several, that `path` is, or the folder's.

    Raises:
        ArgumentError: nothing is there, or a folder has none or several.
    """
    path = as_path(path)
    if path.is_dir():
        return _within(path)
    if not path.exists():
        hint = pattern_hint(path) or store_hint(path) or _beside(path)
        raise ArgumentError(f"{path}: no such file or folder{hint}")
    check_plain(path)
    return path


def _beside(path: Path) -> str:
    """The names of Taut files and folders beside a missing path that it may have meant."""
    try:
        entries = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    return nearest(path.name, entries)


def is_taut_source(source: Source) -> bool:
    """Whether what was opened as a plain model is a Taut file, or the shards of one."""
    return {"taut", "checksum", "index"} <= source.metadata.keys() or source.identity.endswith(
        INDEX_SUFFIX
    )


def _within(path: Path) -> Path:
    """The one file or index of a folder."""
    if (path / TREE_NAME).is_file():
        return path / TREE_NAME
    entries = sorted(path.iterdir())
    indexes = [entry for entry in entries if entry.name.endswith(INDEX_SUFFIX)]
    found = indexes or [entry for entry in entries if entry.name.endswith(SUFFIX)]
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found) or "none"
        raise ArgumentError(f"{path}: one file of the folder must end in {SUFFIX}; here: {names}")
    return found[0]
