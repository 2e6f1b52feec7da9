"""Files with valid checksums around contents that no writer makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taut.container.format import header_entry

from ..attacks.forge import Forgery, raw_deflate, split, with_header


def forge(
    path: Path,
    *,
    index: Callable[[dict], object] = lambda tree: None,
    entries: Callable[[list], object] = lambda entries: None,
) -> None:
    """Change a file's table of contents, and its entries (name, dtype, shape, bytes).

    Each function changes its argument in place; checksums of header and index are made anew. The
    table has an object for each tensor, as version 1 has it.
    """
    data = path.read_bytes()
    header, body = split(data)
    del header["__metadata__"]
    found = [
        [name, e["dtype"], tuple(e["shape"]), data[slice(*(body + o for o in e["data_offsets"]))]]
        for name, e in header.items()
    ]
    last = found.pop()
    forgery = Forgery.of(data)
    inside = b"".join(
        forgery.pack(number)
        for number, pack in enumerate(forgery.tree.get("packs", []))
        if "name" not in pack
    )
    index(forgery.tree)
    entries(found)
    stream = forgery.index()
    blob = raw_deflate(stream) + inside if forgery.version == 2 else stream
    found.append([last[0], "U8", (len(blob),), blob])
    texts, raw = [], b""
    for name, dtype, shape, piece in found:
        texts.append(header_entry(name, dtype, shape, len(raw), len(raw) + len(piece)))
        raw += piece
    path.write_bytes(with_header(",".join(texts) + "}", raw, blob, forgery.version))
