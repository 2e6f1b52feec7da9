"""Files with valid checksums around contents that no writer makes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

from laconic.container.format import build_header, header_entry, xxh3
from laconic.io import read_header


def forge(
    path: Path,
    *,
    index: Callable[[dict], object] = lambda tree: None,
    entries: Callable[[list], object] = lambda entries: None,
) -> None:
    """Change a file's table of contents, and its entries (name, dtype, shape, bytes).

    Each function changes its argument in place; checksums of header and index are made anew.
    """
    data, header = path.read_bytes(), read_header(path)
    found = [[t.name, t.dtype, t.shape, data[t.start : t.stop]] for t in header.tensors]
    last = found.pop()
    tree = json.loads(zlib.decompress(last[3]))
    index(tree)
    last[3] = zlib.compress(json.dumps(tree).encode())
    last[2] = (len(last[3]),)
    entries(found)
    found.append(last)
    texts, blob = [], bytearray()
    for name, dtype, shape, raw in found:
        texts.append(header_entry(name, dtype, shape, len(blob), len(blob) + len(raw)))
        blob += raw
    text = build_header(texts, xxh3(bytes(blob[len(blob) - len(last[3]) :])))
    path.write_bytes(len(text).to_bytes(8, "little") + text + blob)
