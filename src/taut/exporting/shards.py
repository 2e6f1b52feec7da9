"""Writes a folder's weights: one safetensors file, or shards and their index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from taut.container.plain_file import Load, write_tensors
from taut.io import TensorInfo, read_header
from taut.io.hub import shard_index

SHARD: Final = 5_000_000_000  # bytes of a folder's file, at most: what hubs ask for


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
