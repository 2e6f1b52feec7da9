"""The table of a folder with several Taut models (docs/format.md, 9), as text and as records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.container.find import INDEX_SUFFIX, SUFFIX
from taut.container.schema import (
    check_keys,
    get_checksum,
    get_integer,
    get_list,
    get_object,
    get_text,
    numbered,
)
from taut.container.shard_table import read_summed, with_sum
from taut.errors import FormatError
from taut.io.hub_url import is_within

_KEYS: Final = ("metadata", "source", "parts")
_LONGEST: Final = 1024  # characters of a path or a prefix
_MOST: Final = 65_536  # parts


@dataclass(frozen=True, slots=True)
class TreePart:
    """A Taut file of a tree, or the index of several: its path there, bytes and checksum.

    `prefix` stands before its tensors' names.
    """

    file: str
    prefix: str
    nbytes: int
    checksum: str


@dataclass(frozen=True)
class TreeTable:
    """What a table says: `nbytes` of what was compressed, and the parts, in order."""

    nbytes: int
    parts: tuple[TreePart, ...]
    checksum: str = ""


def tree_bytes(nbytes: int, parts: Sequence[TreePart]) -> bytes:
    """The text of a table."""
    metadata = {"total_size": sum(part.nbytes for part in parts)}
    lines = ",\n ".join(
        json.dumps(
            {
                "file": part.file,
                "prefix": part.prefix,
                "bytes": part.nbytes,
                "checksum": part.checksum,
            },
            ensure_ascii=False,
        )
        for part in parts
    )
    source = json.dumps({"bytes": nbytes})
    return with_sum(json.dumps(metadata)[1:] + f',\n"source":{source},\n"parts":[\n {lines}]}}\n')


def read_tree_table(path: Path) -> TreeTable:
    """Parse the table of a tree, trusting nothing.

    Raises:
        ArgumentError: it cannot be read.
        FormatError: it breaks a rule of docs/format.md; says which.
        VerifyError: it does not match its checksum.
    """
    where = str(path)
    tree, checksum = read_summed(path, "a table of Taut files")
    check_keys(tree, _KEYS, (), where)
    source = get_object(tree["source"], f"{where}: source")
    check_keys(source, ("bytes",), (), where)
    parts = tuple(_part(one, at) for at, one in numbered(get_list(tree, "parts", where), where))
    _check_distinct(parts, where)
    return TreeTable(get_integer(source, "bytes", where), parts, checksum)


def _part(item: object, where: str) -> TreePart:
    tree = get_object(item, where)
    check_keys(tree, ("file", "prefix", "bytes", "checksum"), (), where)
    file, prefix = get_text(tree, "file", where), get_text(tree, "prefix", where)
    if not file.endswith((SUFFIX, INDEX_SUFFIX)) or not _is_below(file):
        raise FormatError(
            f"{where}: {file!r:.80} must be the path of a file below the table that ends in "
            f"{SUFFIX} or {INDEX_SUFFIX}"
        )
    if not prefix.endswith("/") or len(prefix) > _LONGEST:
        raise FormatError(f"{where}: {prefix!r:.80} must be a prefix of names that ends in /")
    nbytes, checksum = get_integer(tree, "bytes", where), get_checksum(tree, "checksum", where)
    return TreePart(file, prefix, nbytes, checksum)


def _is_below(path: str) -> bool:
    """Whether a path leads to a place below the folder that it starts from, on any system."""
    strange = any(sign in path for sign in "\\:") or len(path) > _LONGEST
    return not strange and is_within(path)


def _check_distinct(parts: Sequence[TreePart], where: str) -> None:
    if not parts or len(parts) > _MOST:
        raise FormatError(f"{where}: has {len(parts)} parts; a table has from 1 to {_MOST}")
    if len({part.file.casefold() for part in parts}) < len(parts):
        raise FormatError(f"{where}: a file comes twice")
    if len({part.prefix for part in parts}) < len(parts):
        raise FormatError(f"{where}: a prefix comes twice")
