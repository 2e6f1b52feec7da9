"""Memory to decode into without waiting for page faults."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence

import numpy as np

from taut.errors import TautError

# Fresh 4 KiB pages cap any decoder at about 2 GB/s: the kernel zeroes and maps each one. 2 MiB
# pages take one fault in 512, but only from an address on that is a multiple of 2 MiB.
_HUGE = 1 << 21
_LINE = 64  # a cache line; also what torch and SIMD loads like


def allocate(sizes: Sequence[int]) -> list[np.ndarray]:
    """Give one uint8 array of each size in bytes, all in one huge-page-advised block.

    The arrays are writable, zero and begin at multiples of 64 bytes. The block lives as long as any
    of them. Raises `TautError` when the machine has no such amount of memory.
    """
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // _LINE) * _LINE
    block = _block(end)
    return [block[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def _block(size: int) -> np.ndarray:
    try:
        if size < _HUGE:
            raw = np.zeros(size + _LINE, np.uint8)
            skip = -raw.ctypes.data % _LINE
            return raw[skip : skip + size]
        pages = _pages(size + _HUGE)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise TautError(
            f"{size / 1e9:.1f} GB of memory cannot be had; load the tensors one at a time"
        ) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages: slower, not wrong
            pages.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(pages, np.uint8)
    skip = -raw.ctypes.data % _HUGE
    return raw[skip : skip + size]


def _pages(size: int) -> mmap.mmap:
    if hasattr(mmap, "MAP_PRIVATE"):
        # Python's default is a shared mapping, to which Linux gives no huge pages.
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)
