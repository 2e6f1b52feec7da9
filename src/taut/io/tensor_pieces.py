"""A tensor piece by piece: read as it is wanted from a file, cut from the whole of all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from taut.io.based_on import BasedOn
from taut.io.dtypes import storage
from taut.io.in_memory import MemorySource
from taut.io.safetensors import SafetensorsSource
from taut.io.tensor_info import Source, TensorInfo

LARGE: Final = 1 << 28  # bytes of a tensor from which on it is not held whole
PIECE: Final = 1 << 26  # bytes that are held of it instead

Read = Callable[[int, int], np.ndarray]


def reader_of(source: Source, name: str) -> Read:
    """What gives the values of a tensor from one number to another, flat, in its stored dtype.

    Only what lies in a file as it is, is read so (`file_reader`); other sources hold the tensor.

    >>> from taut.io import open_source
    >>> reader_of(open_source({"w": np.arange(6).reshape(2, 3)}), "w")(2, 4)
    array([2, 3])
    """
    read = file_reader(source, name)
    if read is not None:
        return read
    flat = source.load(name).reshape(-1)
    return lambda begin, end: flat[begin:end]


def pieces_of(source: Source, info: TensorInfo, nbytes: int = PIECE) -> Iterator[np.ndarray]:
    """All values of a tensor in order, about so many bytes at a time, flat; one alone if small."""
    read = file_reader(source, info.name) if info.nbytes > nbytes else None
    if read is None:
        flat = source.load(info.name).reshape(-1)
        step = max(1, nbytes // max(1, flat.itemsize))
        yield from (flat[at : at + step] for at in range(0, max(1, flat.size), step))
        return
    dtype, _ = storage(info.dtype, info.shape)
    count, each = info.nbytes // dtype.itemsize, max(1, nbytes // dtype.itemsize)
    for begin in range(0, count, each):
        yield read(begin, min(count, begin + each))


def held_nbytes(source: Source, info: TensorInfo) -> int:
    """How much of a tensor is in memory at a time: all of it, or two pieces of a large one.

    >>> from taut.io import open_source
    >>> source = open_source({"w": np.zeros(3)})
    >>> held_nbytes(source, source.infos[0])
    24
    """
    if info.nbytes <= LARGE or file_reader(source, info.name) is None:
        return info.nbytes
    return 2 * PIECE


def file_reader(source: Source, name: str) -> Read | None:
    """What reads the values of a tensor from its file; None where the tensor is held anyhow."""
    if isinstance(source, SafetensorsSource | MemorySource | BasedOn):
        return source.reader(name)
    return None
