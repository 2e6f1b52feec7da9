"""Writes ordinary safetensors: tensors one at a time, aligned for a reader that maps the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from taut.container.format import as_bytes, header_entry
from taut.io import SAFETENSORS_DTYPES, TensorInfo

Load = Callable[[str], np.ndarray | Iterable[np.ndarray]]
"""Gives the values of a name: all of them, or pieces of them, flat and in order."""


def write_tensors(
    path: Path,
    infos: Iterable[TensorInfo],
    load: Load,
    *,
    metadata: Mapping[str, str] | None = None,
    told: Callable[[], None] | None = None,
) -> None:
    """Write one safetensors file; `load` gives the values of a name, of its dtype and shape.

    Wider dtypes come first, so that every tensor is aligned for a reader that maps the file.
    """
    ordered = in_order(infos)
    parts = ['"__metadata__":' + json.dumps({"format": "pt", **(metadata or {})})]
    end = 0
    for info in ordered:
        begin, end = end, end + info.nbytes
        parts.append(header_entry(info.name, info.dtype, info.shape, begin, end))
    header = ("{" + ",".join(parts) + "}").encode()
    header = header.ljust(len(header) + -len(header) % 8)
    with path.open("xb") as out:
        out.write(len(header).to_bytes(8, "little"))
        out.write(header)
        for info in ordered:
            values, written = load(info.name), 0
            for piece in (values,) if isinstance(values, np.ndarray) else values:
                data = as_bytes(np.ascontiguousarray(piece))
                written += data.nbytes
                out.write(data.data)
            assert written == info.nbytes, info
            if told is not None:
                told()


def in_order(infos: Iterable[TensorInfo]) -> list[TensorInfo]:
    """Tensors in the order in which a file holds them: wide dtypes first, else as they come."""

    def width(info: TensorInfo) -> int:
        dtype = SAFETENSORS_DTYPES.get(info.dtype)
        return 1 if dtype is None else dtype.itemsize

    return sorted(infos, key=lambda info: -width(info))
