"""Takes a Taut file apart and puts it together again with every checksum made anew.

What comes out has valid checksums whatever was changed in between, so that only the reader's own
care stands between hostile bytes and its user. The format is written out here once more, apart
from the library's writer.
"""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from taut.coding import Job, decode, decoded_nbytes
from taut.container.deflate import DICTIONARY
from taut.io.dtypes import tensor_nbytes

START = b'{"__metadata__":{"taut":"%d","checksum":"'
MAGIC = b"LCA1"  # how array headers begin, but in packs
SHARED = ("dtype", "scheme", "store", "as", "tied", "pack", "solid", "base")  # what makes a kind
OWN = {
    "coded": ["sum", "parts"],
    "packed": ["lengths"],
    "kept": ["sum"],
    "solid": [],
    "alias": ["of"],
    "base": [],
}


def xxh3(data: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(data)


def sign_header(text: bytes) -> bytes:
    """`text`, padded to a multiple of 8, with the checksum it must have."""
    start, end = text[: len(START) - 1], len(START) + 15
    assert start in (START % 1, START % 2)
    text = start + b"0" * 16 + text[end:]
    text = text.ljust(len(text) + -len(text) % 8)
    return start + xxh3(text).encode() + text[end:]


def with_header(text: str, body: bytes, index: bytes, version: int = 2) -> bytes:
    """A file of these entries (the JSON text after `__metadata__`), header and index signed."""
    header = f'{(START % version).decode()}{"0" * 16}","index":"{xxh3(index)}"}},{text}'
    signed = sign_header(header.encode())
    return len(signed).to_bytes(8, "little") + signed + body


def split(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a sound file as JSON, and where its body begins."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def inflate(blob: bytes) -> tuple[bytes, bytes]:
    """The text of an index, and the bytes after it."""
    stream = zlib.decompressobj(-15, zdict=DICTIONARY)
    return stream.decompress(blob), stream.unused_data


def raw_deflate(index: bytes) -> bytes:
    """A zlib stream without its header and Adler-32; anything else as it is."""
    return index[2:-4] if index[:1] == b"\x78" else index


def on_base(record: dict[str, Any]) -> list[str]:
    """What a row says of a base, if it does."""
    return ["base_sum"] if "base" in record or record["store"] == "base" else []


def expand(tree: dict[str, Any]) -> None:
    """Make each row of a table of contents an object that says all about its tensor."""
    found = []
    for number, name, shape, *rest in tree["tensors"]:
        record = {**tree["kinds"][number], "name": name, "shape": shape}
        keys = [*on_base(record), *OWN[record["store"]], "rel_mse"]
        found.append({**record, **dict(zip(keys, rest, strict=False))})
    tree["tensors"] = found
    del tree["kinds"]


def collapse(tree: dict[str, Any]) -> dict[str, Any]:
    """The table of contents as it lies in a file, with kinds and rows."""
    kinds: list[dict[str, Any]] = []
    rows = []
    for record in tree["tensors"]:
        kind = {key: record[key] for key in SHARED if key in record}
        if kind not in kinds:
            kinds.append(kind)
        keys = ["name", "shape", *on_base(record), *OWN[record["store"]], "rel_mse"]
        row = [record[key] for key in keys if key in record]
        rows.append([kinds.index(kind), *row])
    return {**tree, "kinds": kinds, "tensors": rows}


@dataclass
class Forgery:
    """A file in pieces; change any of them and `signed` gives a file around them.

    `tree` is the table of contents with an object for each tensor. `parts` are the parts of each
    coded array, `raw` the bytes of other entries, by name; `entries` are (name, dtype, shape) in
    the order of the body. `packs` are the names of the members of each pack.
    """

    tree: dict[str, Any]
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    entries: list[tuple[str, str, list[int]]] = field(default_factory=list)
    packs: list[list[str]] = field(default_factory=list)
    version: int = 2

    @classmethod
    def of(cls, data: bytes) -> Forgery:
        """Take a sound file apart."""
        header, body = split(data)
        del header["__metadata__"]
        spans = {n: data[slice(*(body + o for o in e["data_offsets"]))] for n, e in header.items()}
        *names, last = header
        if data[8:].startswith(START % 1):
            forgery, rest = cls(json.loads(zlib.decompress(spans[last])), version=1), b""
        else:
            text, rest = inflate(spans[last])
            forgery = cls(json.loads(text))
            expand(forgery.tree)
        forgery.tree.setdefault("solids", [])
        forgery.entries = [(n, header[n]["dtype"], header[n]["shape"]) for n in names]
        coded = {r["name"]: [n for n, _ in r["parts"]] for r in forgery.coded() if "parts" in r}
        for name in names:
            if name in coded:
                forgery.cut(name, coded[name], spans[name])
            else:
                forgery.raw[name] = spans[name]
        for number, pack in enumerate(forgery.tree.get("packs", [])):
            blob = spans[pack["name"]] if "name" in pack else rest
            forgery.packs.append([])
            for record in forgery.coded():
                if record.get("pack") == number:
                    forgery.packs[-1].append(record["name"])
                    blob = forgery.cut(record["name"], record["lengths"], blob)
                    forgery.parts[record["name"]][0] = MAGIC + forgery.parts[record["name"]][0]
        return forgery

    def cut(self, name: str, lengths: list[int], blob: bytes) -> bytes:
        """Take the parts of an array from the front of `blob`."""
        self.parts[name] = []
        for nbytes in lengths:
            self.parts[name].append(blob[:nbytes])
            blob = blob[nbytes:]
        return blob

    def coded(self) -> list[dict[str, Any]]:
        """The records of coded arrays, which have parts: solid groups, then tensors."""
        tensors = [r for r in self.tree["tensors"] if r["store"] in ("coded", "packed")]
        return self.tree["solids"] + tensors

    def record(self, name: str) -> dict[str, Any]:
        """The record of one tensor, or of the solid group of that name."""
        return next(r for r in self.tree["solids"] + self.tree["tensors"] if r["name"] == name)

    def signed(self) -> bytes:
        """The file, with the lengths and checksums of its parts, of its index and its header."""
        for record in self.coded():
            pieces = self.parts.get(record["name"])
            if pieces is None:
                continue
            if "lengths" in record:
                record["lengths"] = [len(piece) for piece in packed(pieces)]
            else:
                record["parts"] = [[len(piece), xxh3(piece)] for piece in pieces]
        for number, pack in enumerate(self.tree.get("packs", [])):
            if "checksum" in pack:
                pack["checksum"] = xxh3(self.pack(number))
        return self.around(self.index())

    def index(self) -> bytes:
        """The table of contents as a zlib stream."""
        tree = self.tree if self.version == 1 else collapse(self.tree)
        return zlib.compress(json.dumps(tree).encode())

    def pack(self, number: int) -> bytes:
        """The bytes of a pack."""
        return b"".join(b"".join(packed(self.parts[name])) for name in self.packs[number])

    def around(self, index: bytes) -> bytes:
        """The file with these bytes, or what this zlib stream holds, as its index."""
        texts, body = [], b""
        found = list(enumerate(self.tree.get("packs", [])))
        packs = {pack["name"]: number for number, pack in found if "name" in pack}
        inside = {name for names in self.packs for name in names}
        for name, dtype, shape in self.entries:
            begin = len(body)
            if name in packs or (name in self.parts and name not in inside):
                body += self.pack(packs[name]) if name in packs else b"".join(self.parts[name])
                body += bytes(-len(body) % 8)
                shape = [len(body) - begin]
            else:
                body += self.raw[name]
            texts.append(entry(name, dtype, shape, begin, len(body)))
        last = [number for number, pack in found if "name" not in pack]
        if self.version == 2:
            index = raw_deflate(index) + (self.pack(last[0]) if last else b"")
        texts.append(entry("taut.index", "U8", [len(index)], len(body), len(body) + len(index)))
        return with_header(",".join(texts) + "}", body + index, index, self.version)

    def first(self) -> bytes:
        """The same tensors as version 1 wrote them: every coded array has an entry of its own."""
        old = copy.deepcopy(self)
        old.version = 1
        source = {"metadata": {}, "files": [], **old.tree["source"]}
        old.tree = {"version": 1, **old.tree, "source": source}
        packs = {pack.get("name") for pack in old.tree.pop("packs", [])}
        old.entries = [entry for entry in old.entries if entry[0] not in packs]
        ends: dict[int, int] = {}
        for record in old.coded():
            if "lengths" in record:
                del record["lengths"], record["pack"]
                header, *chunks = self.parts[record["name"]]
                out = np.empty(decoded_nbytes(header), np.uint8)
                decode([Job(header, chunks, out)])
                record["sum"] = xxh3(out.tobytes())
                old.entries.append((record["name"], "U8", [0]))
            if record.get("store") == "packed":
                record["store"] = "coded"
        for record in old.tree["tensors"]:
            if record["store"] == "solid":
                record["at"] = ends.get(record["solid"], 0)
                nbytes = tensor_nbytes(record.get("as", record["dtype"]), tuple(record["shape"]))
                ends[record["solid"]] = record["at"] + nbytes
        old.packs = []
        return old.signed()


def packed(pieces: list[bytes]) -> list[bytes]:
    """The parts of an array as they lie in a pack."""
    return [piece if k else piece.removeprefix(MAGIC) for k, piece in enumerate(pieces)]


def entry(name: str, dtype: str, shape: list[int], begin: int, end: int) -> str:
    """One entry of the header as JSON text."""
    values = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return f"{json.dumps(name)}:{json.dumps(values)}"


def varint(value: int) -> bytes:
    """LEB128, as in array headers."""
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
