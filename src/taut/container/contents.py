"""The table of contents as bytes: written as version 2, read as version 1 or 2."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

from taut.container.deflate import deflate, inflate, inflate_first
from taut.container.index import Index, Origin, Pack, SolidGroup
from taut.container.rows import (
    FIRST,
    SECOND,
    Kinds,
    expand_rows,
    parse_lengths,
    parse_parts,
    parse_record,
)
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
from taut.container.source_header import rebuild_header
from taut.errors import FormatError

Pairs = tuple[tuple[str, str | None], ...]  # names, and texts where they were not left out

_FAR = 1 << 40  # no attribute of a module is further from 0
_MODULES = 1 << 16
_ATTRIBUTES = 64


def pack_index(index: Index) -> bytes:
    """Serialise the table of contents; the same index gives the same bytes."""
    kinds = Kinds()
    rows = [kinds.row(record) for record in index.records]
    tree: dict[str, object] = {"source": source_tree(index)}
    if index.packs:
        tree["packs"] = [_pack_tree(pack) for pack in index.packs]
    if index.groups:
        tree["solids"] = [_group_tree(group) for group in index.groups]
    tree |= {"kinds": kinds.trees, "tensors": rows}
    if index.origin.base:
        tree["base"] = {"name": index.origin.base}
    if index.origin.modules:
        tree["modules"] = {name: dict(found) for name, found in index.origin.modules.items()}
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return deflate(text.encode())


def unpack_index(blob: bytes, version: int = 2) -> tuple[Index, int]:
    """Parse a table of contents, trusting nothing; gives how many bytes follow it, too.

    Raises:
        FormatError: it breaks a rule of docs/format.md; says which.
    """
    text, rest = inflate(blob) if version == 2 else inflate_first(blob)
    tree = get_object(load_json(text, "index"), "index")
    if version == 1:
        if rest:
            raise FormatError(f"index: {rest} bytes after the end of the stream")
        return _parse_first(tree), 0
    return _parse_second(tree), rest


def _parse_first(tree: dict[str, object]) -> Index:
    if get_integer(tree, "version", "index") != 1:
        raise FormatError(f"index: version {tree['version']}, but the header says 1")
    source = get_object(tree.get("source"), "index: source")
    get_object(source.get("metadata"), "index: source: metadata")
    origin, _ = parse_origin(source, needed=("name", "header"))
    return Index(
        origin,
        tuple(
            _parse_group(get_object(item, where), where)
            for where, item in numbered(get_list(tree, "solids", "index"), "index: solid group")
        ),
        tuple(
            parse_record(get_object(item, where), FIRST, where)
            for where, item in numbered(get_list(tree, "tensors", "index"), "index: tensor")
        ),
    )


def _parse_second(tree: dict[str, object]) -> Index:
    origin, rebuild = parse_origin(get_object(tree.get("source"), "index: source"))
    packs = tuple(
        _parse_pack(get_object(item, where), where)
        for where, item in numbered(_optional(tree, "packs"), "index: pack")
    )
    groups = tuple(
        _parse_group(get_object(item, where), where)
        for where, item in numbered(_optional(tree, "solids"), "index: solid group")
    )
    records = tuple(
        parse_record(item, SECOND, where)
        for where, item in expand_rows(
            get_list(tree, "kinds", "index"), get_list(tree, "tensors", "index")
        )
    )
    if rebuild:
        ((name, _),) = origin.files
        origin = replace(origin, files=((name, rebuild_header(records, origin.metadata)),))
    if "base" in tree:
        named = get_object(tree["base"], "index: base")
        origin = replace(origin, base=get_text(named, "name", "index: base"))
    if "modules" in tree:
        origin = replace(origin, modules=_parse_modules(tree["modules"]))
    return Index(origin, groups, records, packs)


def source_tree(index: Index) -> dict[str, object]:
    """What an index says of what was compressed, as JSON values."""
    origin = index.origin
    tree: dict[str, object] = {"bytes": origin.nbytes}
    if origin.metadata:
        tree["metadata"] = dict(origin.metadata)
    if origin.files:
        tree["files"] = [{"name": name, "header": text} for name, text in origin.files]
    if len(origin.files) == 1:
        ((name, text),) = origin.files
        with contextlib.suppress(FormatError):  # a tensor without a size: the reader will refuse
            if text == rebuild_header(index.records, origin.metadata):
                tree["files"] = [{"name": name}]
    if origin.quantization:
        tree["quantization"] = json.loads(origin.quantization)
    if origin.texts:
        tree["texts"] = [{"name": name, "text": text} for name, text in origin.texts]
    return tree


def _pack_tree(pack: Pack) -> dict[str, object]:
    if not pack.name:
        return {"sum": pack.sum}
    return {"name": pack.name, "checksum": pack.checksum, "sum": pack.sum}


def _group_tree(group: SolidGroup) -> dict[str, object]:
    tree: dict[str, object] = {"name": group.name, "dtype": group.dtype}
    if group.base:
        tree["base"] = True
    if group.pack is not None:
        return {**tree, "pack": group.pack, "lengths": [part.nbytes for part in group.parts]}
    return {**tree, "sum": group.sum, "parts": [[p.nbytes, p.checksum] for p in group.parts]}


def _optional(tree: dict[str, object], key: str) -> list[object]:
    return get_list(tree, key, "index") if key in tree else []


def parse_origin(
    tree: dict[str, object], needed: tuple[str, ...] = ("name",)
) -> tuple[Origin, bool]:
    """The source, and whether the header of its only file is to be rebuilt."""
    where = "index: source"
    if "files" not in tree and "header" in needed:
        raise FormatError(f'{where}: "files" is not a list')
    metadata = get_object(tree.get("metadata", {}), f"{where}: metadata")
    files = _parse_texts(tree, "files", "header", needed)
    rebuild = len(files) == 1 and files[0][1] is None
    if not rebuild and any(text is None for _, text in files):
        raise FormatError(f"{where}: only the header of a single file can be left out")
    texts = _parse_texts(tree, "texts", "text", ("name", "text"))
    origin = Origin(
        get_integer(tree, "bytes", where),
        {key: get_text(metadata, key, f"{where}: metadata") for key in metadata},
        _whole(files),
        _whole(texts),
        quantization=_parse_quantization(tree),
    )
    return origin, rebuild


def _parse_quantization(tree: dict[str, object]) -> str:
    """How low-bit weights become floats, as its text; "" where the source says nothing of it."""
    if "quantization" not in tree:
        return ""
    found = get_object(tree["quantization"], "index: source: quantization")
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _whole(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    """The pairs with an empty text where it was left out."""
    return tuple((name, text or "") for name, text in pairs)


def _parse_texts(tree: dict[str, object], key: str, value: str, needed: tuple[str, ...]) -> Pairs:
    """The pairs of name and text at `key`, if there are any; no text where it may be left out."""
    pairs = []
    items = get_list(tree, key, "index: source") if key in tree else []
    for where, item in numbered(items, f"index: {key}"):
        entry = get_object(item, where)
        check_keys(entry, needed, (value,), where)
        name = get_text(entry, "name", where)
        # The name becomes a path beside the user's files: one plain component, nothing else.
        if not name or name in (".", "..") or any(c in name for c in "/\\:\0") or len(name) > 255:
            raise FormatError(f"{where}: {name!r:.80} is not a file name")
        pairs.append((name, get_text(entry, value, where) if value in entry else None))
    return tuple(pairs)


def _parse_pack(tree: dict[str, object], where: str) -> Pack:
    if "name" not in tree:
        check_keys(tree, ("sum",), (), where)
        return Pack("", "", get_checksum(tree, "sum", where))
    check_keys(tree, ("name", "checksum", "sum"), (), where)
    return Pack(
        get_text(tree, "name", where),
        get_checksum(tree, "checksum", where),
        get_checksum(tree, "sum", where),
    )


def _parse_group(tree: dict[str, object], where: str) -> SolidGroup:
    packed = "pack" in tree
    check_keys(
        tree,
        ("name", "dtype", *(("pack", "lengths") if packed else ("sum", "parts"))),
        ("base",),
        where,
    )
    if not isinstance(base := tree.get("base", False), bool):
        raise FormatError(f"{where}: base is not true or false")
    return SolidGroup(
        get_text(tree, "name", where),
        get_text(tree, "dtype", where),
        "" if packed else get_checksum(tree, "sum", where),
        parse_lengths(tree, where) if packed else parse_parts(tree, where),
        get_integer(tree, "pack", where) if packed else None,
        base,
    )


def _parse_modules(value: object) -> dict[str, dict[str, int]]:
    modules = get_object(value, "index: modules")
    if len(modules) > _MODULES:
        raise FormatError(f"index: modules: {len(modules)} of them; at most {_MODULES}")
    found: dict[str, dict[str, int]] = {}
    for name in modules:
        where = f"index: modules: {name!r:.80}"
        attributes = get_object(modules[name], where)
        get_text({"name": name}, "name", where)
        if len(attributes) > _ATTRIBUTES:
            raise FormatError(f"{where}: {len(attributes)} attributes; at most {_ATTRIBUTES}")
        found[name] = {key: _attribute(key, attributes[key], where) for key in attributes}
    return found


def _attribute(name: str, value: object, where: str) -> int:
    if not name.isidentifier() or len(name) > 255:
        raise FormatError(f"{where}: {name!r:.80} is not the name of an attribute")
    if type(value) is not int or not -_FAR <= value <= _FAR:
        raise FormatError(f"{where}: {name} is not an integer within -2^40 .. 2^40")
    return value
