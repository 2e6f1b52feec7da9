"""Memory in a stated page state: fresh 4 KiB pages, fresh huge pages, or pages used before.

A decoder that writes fresh pages pays the kernel for each fault and for zeroing it, often more
than for decoding. So a speed means nothing without the state of its output pages:

    cold   pages fresh from the kernel, 4 KiB each (for a peer that allocates its own output:
           the allocator gave its free memory back before each pass, all outputs stay alive)
    huge   pages fresh from the kernel, after madvise(MADV_HUGEPAGE)
    warm   the same buffer again (such a peer: the allocator keeps all freed memory)
"""

from __future__ import annotations

import ctypes
import gc
import mmap
from typing import Literal

import numpy as np

from bench.data.tensors import Array, Bytes

Pages = Literal["cold", "huge", "warm"]

_MIB = 1 << 20
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h of glibc
_NOHUGEPAGE, _HUGEPAGE = 15, 14  # madvise(2), Linux


def fresh_bytes(size: int, *, huge: bool) -> Bytes:
    """Return `size` unused bytes of anonymous memory; nothing has touched its pages."""
    # Private: Python maps shared memory unless told, for which kernels ignore huge-page advice.
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(_HUGEPAGE if huge else _NOHUGEPAGE)
    except (AttributeError, OSError):
        if huge:
            raise SystemExit("this kernel has no huge-page advice") from None
    return np.frombuffer(memory, np.uint8)[:size]


def views(arena: Bytes, like: list[Array]) -> list[Array]:
    """Cut an arena into arrays of the shapes and dtypes of `like`, each 64-byte aligned."""
    out, offset = [], 0
    for array in like:
        out.append(arena[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape))
        offset += -(-array.nbytes // 64) * 64
    return out


def arena_size(like: list[Array]) -> int:
    """Return the bytes that `views` needs."""
    return sum(-(-array.nbytes // 64) * 64 for array in like)


def allocator(pages: Pages) -> bool:
    """Put malloc into a page state for what libraries allocate inside; False where it cannot.

    glibc only. `cold`: its own defaults once it has seen big blocks (32 MiB and more are mapped
    apart), made constant, so that runs agree; the free memory goes back to the kernel now.
    `warm`: everything comes from the heap and the heap never shrinks.
    """
    gc.collect()
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):
        return False
    warm = pages == "warm"
    mallopt(_MMAP_THRESHOLD, 32 * _MIB)
    mallopt(_MMAP_MAX, 0 if warm else 65536)
    mallopt(_TRIM_THRESHOLD, 0x7FFFFFFF if warm else 64 * _MIB)
    if not warm:
        trim(0)
    return True
