"""The table of contents of a Laconic file: frozen records <-> deflated JSON (docs/format.md, 4)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from laconic.container.schema import (
    check_keys,
    get_checksum,
    get_integer,
    get_list,
    get_number,
    get_object,
    get_text,
    load_json,
)
from laconic.errors import FormatError
from laconic.io.dtypes import MAX_DIMENSIONS

Store = Literal["coded", "kept", "solid", "alias"]

# A table of contents is mostly checksums, which do not deflate: real ones shrink by 3-10. The cap
# keeps a few hostile kilobytes from growing into gigabytes of Python objects.
_MOST, _START, _RATIO = 100_000_000, 1 << 18, 50


@dataclass(frozen=True, slots=True)
class Part:
    """One independently checked piece of a coded array: the array header or a chunk."""

    nbytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Group:
    """A solid group: many small tensors of one dtype in one coded array."""

    name: str
    dtype: str
    sum: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One tensor of the model and where its data lies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scheme: str
    store: Store
    sum: str = ""  # coded, kept
    parts: tuple[Part, ...] = ()  # coded
    solid: int = 0  # solid: the number of the group
    at: int = 0  # solid: first byte in the decoded group
    stored: str = ""  # the dtype of the stored values, where it is not `dtype`; "as" in the file
    of: str = ""  # alias
    tied: bool = False  # alias
    rel_mse: float = 0.0

    @property
    def stored_dtype(self) -> str:
        """The safetensors dtype in which the values lie in the file."""
        return self.stored or self.dtype


@dataclass(frozen=True)
class Origin:
    """What was compressed: enough to write its files again byte for byte.

    `files` and `texts` are (name, text) pairs: verbatim safetensors headers, and the small text
    files that describe the shards.
    """

    nbytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Index:
    """The whole table of contents."""

    origin: Origin
    groups: tuple[Group, ...]
    records: tuple[Record, ...]


def pack_index(index: Index) -> bytes:
    """Serialise the table of contents; the same index gives the same bytes."""
    origin = index.origin
    source: dict[str, object] = {
        "bytes": origin.nbytes,
        "metadata": dict(origin.metadata),
        "files": [{"name": name, "header": text} for name, text in origin.files],
    }
    if origin.texts:
        source["texts"] = [{"name": name, "text": text} for name, text in origin.texts]
    tree = {
        "version": 1,
        "source": source,
        "solids": [
            {"name": g.name, "dtype": g.dtype, "sum": g.sum, "parts": _pairs(g.parts)}
            for g in index.groups
        ],
        "tensors": [_record_tree(record) for record in index.records],
    }
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    raw = text.encode()
    for level in (9, 1):
        blob = zlib.compress(raw, level)
        if len(raw) <= _cap(blob):
            return blob
    return zlib.compress(raw, 0)  # thousands of aliases: deflates too well to be told from a bomb


def _cap(blob: bytes) -> int:
    return min(_MOST, _START + _RATIO * len(blob))


def _pairs(parts: tuple[Part, ...]) -> list[list[object]]:
    return [[part.nbytes, part.checksum] for part in parts]


def _record_tree(record: Record) -> dict[str, object]:
    tree: dict[str, object] = {
        "name": record.name,
        "dtype": record.dtype,
        "shape": list(record.shape),
        "scheme": record.scheme,
        "store": record.store,
    }
    if record.store == "coded":
        tree |= {"sum": record.sum, "parts": _pairs(record.parts)}
    elif record.store == "kept":
        tree["sum"] = record.sum
    elif record.store == "solid":
        tree |= {"solid": record.solid, "at": record.at}
    else:
        tree["of"] = record.of
    if record.stored:
        tree["as"] = record.stored
    if record.tied:
        tree["tied"] = True
    if record.rel_mse:
        tree["rel_mse"] = record.rel_mse
    return tree


def unpack_index(blob: bytes) -> Index:
    """Parse a table of contents, trusting nothing; raises `FormatError` that says what is wrong."""
    tree = get_object(load_json(_inflate(blob), "index"), "index")
    if get_integer(tree, "version", "index") != 1:
        raise FormatError(f"index: version {tree['version']}, but the header says 1")
    return Index(
        _parse_origin(get_object(tree.get("source"), "index: source")),
        tuple(
            _parse_group(get_object(item, where), where)
            for where, item in _numbered(get_list(tree, "solids", "index"), "index: solid group")
        ),
        tuple(
            _parse_record(get_object(item, where), where)
            for where, item in _numbered(get_list(tree, "tensors", "index"), "index: tensor")
        ),
    )


def _inflate(blob: bytes) -> bytes:
    cap = _cap(blob)
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(blob, cap)
    except zlib.error as error:
        raise FormatError(f"index: not a zlib stream ({error})") from None
    if not stream.eof:
        raise FormatError(f"index: cut off, or inflates to more than {cap} bytes")
    if stream.unused_data:
        raise FormatError(f"index: {len(stream.unused_data)} bytes after the end of the stream")
    return text


def _numbered(items: list[object], what: str) -> list[tuple[str, object]]:
    return [(f"{what} {number}", item) for number, item in enumerate(items)]


def _parse_origin(tree: dict[str, object]) -> Origin:
    where = "index: source"
    metadata = get_object(tree.get("metadata"), f"{where}: metadata")
    return Origin(
        get_integer(tree, "bytes", where),
        {key: get_text(metadata, key, f"{where}: metadata") for key in metadata},
        _parse_texts(tree, "files", "header"),
        _parse_texts(tree, "texts", "text") if "texts" in tree else (),
    )


def _parse_texts(tree: dict[str, object], key: str, value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for where, item in _numbered(get_list(tree, key, "index: source"), f"index: {key}"):
        entry = get_object(item, where)
        check_keys(entry, ("name", value), (), where)
        name = get_text(entry, "name", where)
        # The name becomes a path beside the user's files: one plain component, nothing else.
        if not name or name in (".", "..") or any(c in name for c in "/\\:\0") or len(name) > 255:
            raise FormatError(f"{where}: {name!r:.80} is not a file name")
        pairs.append((name, get_text(entry, value, where)))
    return tuple(pairs)


def _parse_parts(tree: dict[str, object], where: str) -> tuple[Part, ...]:
    parts = []
    for number, pair in enumerate(get_list(tree, "parts", where)):
        if not isinstance(pair, list) or len(pair) != 2:
            raise FormatError(f"{where}: part {number} is not [length, checksum]")
        item = {"length": pair[0], "checksum": pair[1]}
        spot = f"{where}: part {number}"
        parts.append(Part(get_integer(item, "length", spot), get_checksum(item, "checksum", spot)))
    if not parts:
        raise FormatError(f"{where}: no parts")
    return tuple(parts)


def _parse_group(tree: dict[str, object], where: str) -> Group:
    check_keys(tree, ("name", "dtype", "sum", "parts"), (), where)
    return Group(
        get_text(tree, "name", where),
        get_text(tree, "dtype", where),
        get_checksum(tree, "sum", where),
        _parse_parts(tree, where),
    )


_ALWAYS = ("name", "dtype", "shape", "scheme", "store")
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "coded": ((*_ALWAYS, "sum", "parts"), ("as", "rel_mse")),
    "kept": ((*_ALWAYS, "sum"), ("as", "rel_mse")),
    "solid": ((*_ALWAYS, "solid", "at"), ("as", "rel_mse")),
    "alias": ((*_ALWAYS, "of"), ("tied", "rel_mse")),
}


def _parse_record(tree: dict[str, object], where: str) -> Record:
    name = get_text(tree, "name", where)
    where = f'index: tensor "{name:.200}"'
    store = get_text(tree, "store", where)
    if store not in _KEYS:
        raise FormatError(f"{where}: unknown store {store!r:.80}")
    check_keys(tree, *_KEYS[store], where)
    shape = get_list(tree, "shape", where)
    if len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"{where}: {len(shape)} dimensions, at most {MAX_DIMENSIONS}")
    tied = tree.get("tied", False)
    if not isinstance(tied, bool):
        raise FormatError(f"{where}: tied is not true or false")
    return Record(
        name,
        get_text(tree, "dtype", where),
        tuple(get_integer({"dimension": n}, "dimension", where) for n in shape),
        get_text(tree, "scheme", where),
        cast(Store, store),
        sum=get_checksum(tree, "sum", where) if "sum" in tree else "",
        parts=_parse_parts(tree, where) if "parts" in tree else (),
        solid=get_integer(tree, "solid", where) if "solid" in tree else 0,
        at=get_integer(tree, "at", where) if "at" in tree else 0,
        stored=get_text(tree, "as", where) if "as" in tree else "",
        of=get_text(tree, "of", where) if "of" in tree else "",
        tied=tied,
        rel_mse=get_number(tree, "rel_mse", where) if "rel_mse" in tree else 0.0,
    )
