"""The index of a model in several Taut files (docs/format.md, 8), as text and as frozen records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taut.container.contents import parse_origin, source_tree
from taut.container.find import SUFFIX
from taut.container.format import VERSION, xxh3
from taut.container.index import Index, Origin
from taut.container.schema import (
    check_keys,
    get_checksum,
    get_integer,
    get_list,
    get_object,
    get_text,
    load_json,
    numbered,
)
from taut.errors import ArgumentError, FormatError, VerifyError
from taut.io.shard_index import MAX_INDEX

INDEX_NAME: Final = f"model{SUFFIX}.index.json"

_START: Final = b'{"metadata":{"taut":"2","checksum":"'
_ZEROS: Final = b"0" * 16
_SHAPE: Final = re.compile(rb'\{"metadata":\{"taut":"(\d{1,9})","checksum":"([0-9a-f]{16})"[,}]')
_KEYS: Final = ("metadata", "source", "shards", "weight_map")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of several: its name, its bytes, and the checksum that its own header has."""

    name: str
    nbytes: int
    checksum: str


@dataclass(frozen=True)
class ShardTable:
    """What an index says: `owners` has the shard's name of every tensor, in the model's order.

    `origin` is what was compressed; its `files` are () where each shard has its own, and the header
    of a single one is left out where it is to be rebuilt (`rebuild`). `checksum` is that of
    an index that was read; it covers those of the shards.
    """

    origin: Origin
    shards: tuple[Shard, ...]
    owners: Mapping[str, str]
    rebuild: bool = False
    checksum: str = ""


def table_bytes(table: ShardTable, index: Index) -> bytes:
    """The text of an index; `index` has the records of all tensors, in the model's order."""
    metadata = {"total_size": sum(shard.nbytes for shard in table.shards)}
    shards = [
        {"name": shard.name, "bytes": shard.nbytes, "checksum": shard.checksum}
        for shard in table.shards
    ]
    parts = (
        ("source", json.dumps(source_tree(index), ensure_ascii=False)),
        ("shards", _lines(shards)),
        ("weight_map", _object(table.owners)),
    )
    rest = json.dumps(metadata)[1:] + "".join(f',\n"{name}":{text}' for name, text in parts)
    return with_sum(f"{rest}}}\n")


def with_sum(rest: str) -> bytes:
    """The bytes of an index, or another table, whose text after the checksum is `rest`."""
    text = _START + _ZEROS + f'",{rest}'.encode()
    return _START + xxh3(text).encode() + text[len(_START) + 16 :]


def read_table(path: Path) -> ShardTable:
    """Parse the index of a model in several Taut files, trusting nothing.

    Raises:
        ArgumentError: it cannot be read.
        FormatError: it breaks a rule of docs/format.md; says which.
        VerifyError: it does not match its checksum.
    """
    where = str(path)
    tree, checksum = read_summed(path, "an index of shards")
    check_keys(tree, _KEYS, (), where)
    try:
        origin, rebuild = parse_origin(get_object(tree["source"], "source"))
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    shards = tuple(_shard(one, at) for at, one in numbered(get_list(tree, "shards", where), where))
    owners = _owners(get_object(tree["weight_map"], where), shards, where)
    return ShardTable(origin, shards, owners, rebuild, checksum)


def read_summed(path: Path, what: str) -> tuple[dict[str, object], str]:
    """The JSON of an index, or another table, and the checksum in it, which matches.

    Raises:
        ArgumentError: it cannot be read.
        FormatError: it is too large for `what`, or begins otherwise, or has an unknown version.
        VerifyError: the checksum does not match.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INDEX + 1)
    except OSError as error:
        raise ArgumentError(f"{where}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_INDEX:
        raise FormatError(f"{where}: over {MAX_INDEX} bytes; not {what}")
    checksum = _checked_sum(data, where)
    return get_object(load_json(data, where), where), checksum


def _checked_sum(data: bytes, where: str) -> str:
    """The checksum of the text of an index, or another table, which matches it."""
    match = _SHAPE.match(data)
    if match is None:
        raise FormatError(f"{where}: not an index of Taut files (no taut version at its start)")
    if int(match[1]) != VERSION:
        raise FormatError(
            f"{where}: format version {int(match[1])}, this Taut reads {VERSION}; update it"
        )
    at = len(_START)
    if xxh3(data[:at] + _ZEROS + data[at + 16 :]) != match[2].decode():
        raise VerifyError(f"{where}: the index does not match its checksum; fetch it again")
    return match[2].decode()


def _shard(item: object, where: str) -> Shard:
    tree = get_object(item, where)
    check_keys(tree, ("name", "bytes", "checksum"), (), where)
    name = get_text(tree, "name", where)
    if not name.endswith(SUFFIX) or any(c in name for c in "/\\:\0") or len(name) > 255:
        raise FormatError(
            f"{where}: {name!r:.80} must be the name of a file beside the index that ends in "
            f"{SUFFIX}"
        )
    return Shard(name, get_integer(tree, "bytes", where), get_checksum(tree, "checksum", where))


def _owners(tree: dict[str, object], shards: tuple[Shard, ...], where: str) -> Mapping[str, str]:
    names = {shard.name for shard in shards}
    if len({name.casefold() for name in names}) < len(shards):
        raise FormatError(f"{where}: a shard comes twice")
    if not tree:
        raise FormatError(f"{where}: weight_map: lists no tensor")
    for tensor, shard in tree.items():
        if shard not in names:
            raise FormatError(
                f'{where}: tensor "{tensor:.200}": {shard!r:.80} is not among the shards'
            )
    if unused := names.difference(tree.values()):
        raise FormatError(f'{where}: shard "{sorted(unused)[0]}" has no tensor')
    return {tensor: str(shard) for tensor, shard in tree.items()}


def _lines(items: list[dict[str, object]]) -> str:
    return "[\n " + ",\n ".join(json.dumps(item, ensure_ascii=False) for item in items) + "]"


def _object(pairs: Mapping[str, str]) -> str:
    texts = (
        f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in pairs.items()
    )
    return "{\n " + ",\n ".join(texts) + "}"
