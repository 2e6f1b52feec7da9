"""A tensor piece by piece: read as it is wanted from a file, cut from the whole of all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from taut.io.part_of import PartOf
from taut.io.safetensors import SafetensorsSource
from taut.io.tensor_info import Source

LARGE: Final = 1 << 28  # bytes of a tensor from which on it is not held whole
PIECE: Final = 1 << 26  # bytes that are held of it instead

Read = Callable[[int, int], np.ndarray]


def reader_of(source: Source, name: str) -> Read:
    """What gives the values of a tensor from one number to another, flat, in its stored dtype.

    Only what lies in safetensors is read so; other sources hold, or map, the tensor anyhow.

    >>> from taut.io import open_source
    >>> reader_of(open_source({"w": np.arange(6).reshape(2, 3)}), "w")(2, 4)
    array([2, 3])
    """
    while isinstance(source, PartOf):
        source = source.whole
    if isinstance(source, SafetensorsSource):
        return source.reader(name)
    flat = source.load(name).reshape(-1)
    return lambda begin, end: flat[begin:end]


def pieces_of(source: Source, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
    """All values of a tensor in order, about so many bytes at a time, flat; one alone if empty."""
    info = next(info for info in source.infos if info.name == name)
    if info.nbytes <= nbytes:
        yield source.load(name).reshape(-1)
        return
    read = reader_of(source, name)
    width = read(0, 1).itemsize
    count, each = info.nbytes // width, max(1, nbytes // width)
    for begin in range(0, count, each):
        yield read(begin, min(count, begin + each))
