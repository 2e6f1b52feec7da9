"""Writes safetensors files: tensors one at a time, each aligned for a reader that maps the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from taut.container.format import as_bytes, header_entry
from taut.io import SAFETENSORS_DTYPES, TensorInfo, read_header
from taut.io.hub import shard_index

SHARD: Final = 5_000_000_000  # bytes of a folder's file, at most: what hubs ask for

Load = Callable[[str], np.ndarray]


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
            data = as_bytes(np.ascontiguousarray(load(info.name)))
            assert data.nbytes == info.nbytes, info
            out.write(data.data)
            if told is not None:
                told()


def in_order(infos: Iterable[TensorInfo]) -> list[TensorInfo]:
    """Tensors in the order in which a file holds them: wide dtypes first, else as they come."""

    def width(info: TensorInfo) -> int:
        dtype = SAFETENSORS_DTYPES.get(info.dtype)
        return 1 if dtype is None else dtype.itemsize

    return sorted(infos, key=lambda info: -width(info))


def write_shards(
    folder: Path,
    infos: Sequence[TensorInfo],
    load: Load,
    *,
    limit: int = SHARD,
    told: Callable[[], None] | None = None,
) -> list[Path]:
    """Write a folder's weights: `model.safetensors`, or shards of `limit` bytes and their index.

    Gives the safetensors files.
    """
    shards: list[list[TensorInfo]] = [[]]
    room = limit
    for info in infos:
        if shards[-1] and info.nbytes > room:
            shards.append([])
            room = limit
        shards[-1].append(info)
        room -= info.nbytes
    if len(shards) == 1:
        path = folder / "model.safetensors"
        write_tensors(path, infos, load, told=told)
        return [path]
    paths = [folder / f"model-{n:05}-of-{len(shards):05}.safetensors"
             for n in range(1, len(shards) + 1)]  # fmt: skip
    for path, shard in zip(paths, shards, strict=True):
        write_tensors(path, shard, load, told=told)
    index = folder / "model.safetensors.index.json"
    index.write_text(shard_index({path.name: read_header(path) for path in paths}))
    return paths
