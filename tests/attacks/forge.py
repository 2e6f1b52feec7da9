"""Takes a Laconic file apart and puts it together again with every checksum made anew.

What comes out has valid checksums whatever was changed in between, so that only the reader's own
care stands between hostile bytes and its user. The format is written out here once more, apart
from the library's writer.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import xxhash

START = b'{"__metadata__":{"laconic":"1","checksum":"'


def xxh3(data: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(data)


def sign_header(text: bytes) -> bytes:
    """`text`, padded to a multiple of 8, with the checksum it must have."""
    assert text.startswith(START)
    end = len(START) + 16
    text = START + b"0" * 16 + text[end:]
    text = text.ljust(len(text) + -len(text) % 8)
    return START + xxh3(text).encode() + text[end:]


def with_header(text: str, body: bytes, index: bytes) -> bytes:
    """A file of these entries (the JSON text after `__metadata__`), header and index signed."""
    header = f'{START.decode()}{"0" * 16}","index":"{xxh3(index)}"}},{text}'
    signed = sign_header(header.encode())
    return len(signed).to_bytes(8, "little") + signed + body


def split(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a sound file as JSON, and where its body begins."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


@dataclass
class Forgery:
    """A file in pieces; change any of them and `signed` gives a file around them.

    `tree` is the table of contents. `parts` are the parts of each coded entry, `raw` the bytes of
    the others, by name; `entries` are (name, dtype, shape) in the order of the body.
    """

    tree: dict[str, Any]
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    entries: list[tuple[str, str, list[int]]] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes) -> Forgery:
        """Take a sound file apart."""
        header, body = split(data)
        del header["__metadata__"]
        spans = {n: data[slice(*(body + o for o in e["data_offsets"]))] for n, e in header.items()}
        *names, last = header
        forgery = cls(json.loads(zlib.decompress(spans[last])))
        forgery.entries = [(n, header[n]["dtype"], header[n]["shape"]) for n in names]
        coded = {r["name"]: r["parts"] for r in forgery.coded()}
        for name in names:
            if name not in coded:
                forgery.raw[name] = spans[name]
                continue
            forgery.parts[name], at = [], 0
            for nbytes, _ in coded[name]:
                forgery.parts[name].append(spans[name][at : at + nbytes])
                at += nbytes
        return forgery

    def coded(self) -> list[dict[str, Any]]:
        """The records of coded tensors and solid groups, which have parts."""
        tensors = [r for r in self.tree["tensors"] if r["store"] == "coded"]
        return self.tree["solids"] + tensors

    def record(self, name: str) -> dict[str, Any]:
        """The record of one tensor, or of the solid group of that name."""
        return next(r for r in self.tree["solids"] + self.tree["tensors"] if r["name"] == name)

    def signed(self) -> bytes:
        """The file, with the lengths and checksums of its parts, of its index and its header."""
        for record in self.coded():
            pieces = self.parts.get(record["name"])
            if pieces is not None:
                record["parts"] = [[len(piece), xxh3(piece)] for piece in pieces]
        return self.around(zlib.compress(json.dumps(self.tree).encode()))

    def around(self, index: bytes) -> bytes:
        """The file with these bytes as its index, whatever they are."""
        texts, body = [], b""
        for name, dtype, shape in self.entries:
            begin = len(body)
            if name in self.parts:
                body += b"".join(self.parts[name])
                body += bytes(-len(body) % 8)
                shape = [len(body) - begin]
            else:
                body += self.raw[name]
            texts.append(entry(name, dtype, shape, begin, len(body)))
        texts.append(entry("laconic.index", "U8", [len(index)], len(body), len(body) + len(index)))
        return with_header(",".join(texts) + "}", body + index, index)


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
