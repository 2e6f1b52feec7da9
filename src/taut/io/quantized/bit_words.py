"""Integers and codes that lie densely in words or bytes, one by one.

Surprise: which nibble of a byte is first depends on the format: the low one, but for bitsandbytes;
AWQ has the columns of a word in the order 0 2 4 6 1 3 5 7.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

E2M1: Final = np.array(
    [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32
)
"""What the 16 codes of four-bit floats stand for (OCP Microscaling Formats 1.0, 5.3.3)."""

AWQ_ORDER: Final = (0, 4, 1, 5, 2, 6, 3, 7)
"""The nibble of a word that holds each of its eight columns."""


def split_nibbles(codes: np.ndarray, *, high_first: bool = False) -> NDArray[np.uint8]:
    """Two codes of four bits for each byte of the last axis, which becomes twice as long.

    >>> split_nibbles(np.array([0x21], np.uint8)).tolist()
    [1, 2]
    """
    both = (codes >> 4, codes & 15) if high_first else (codes & 15, codes >> 4)
    return np.stack(both, axis=-1).reshape(*codes.shape[:-1], 2 * codes.shape[-1])


def unpack_words(words: np.ndarray, bits: int, count: int) -> NDArray[np.int32]:
    """`count` integers of `bits` (1 to 8) in the words of the last axis, the lowest bits first.

    They lie densely: a value may begin in one word and end in the next.

    >>> unpack_words(np.array([[0x0c1]], np.int32), 3, 3).tolist()
    [[1, 0, 3]]
    """
    parts = np.ascontiguousarray(words.astype("<i4", copy=False)).view(np.uint8)
    if bits == 8:
        return parts[..., :count].astype(np.int32)
    if bits == 4:
        return split_nibbles(parts)[..., :count].astype(np.int32)
    each = np.unpackbits(parts, axis=-1, bitorder="little", count=count * bits)
    weights = (1 << np.arange(bits)).astype(np.int32)
    found: NDArray[np.int32] = each.reshape(*words.shape[:-1], count, bits) @ weights
    return found.astype(np.int32, copy=False)


def unpack_awq(words: np.ndarray) -> NDArray[np.int32]:
    """The four-bit integers of AWQ's words, whose columns are interleaved.

    >>> unpack_awq(np.array([[0x75316420]], np.int32)).tolist()
    [[0, 1, 2, 3, 4, 5, 6, 7]]
    """
    flat = unpack_words(words, 4, 8 * words.shape[-1])
    eights = flat.reshape(*words.shape, 8)[..., AWQ_ORDER]
    return eights.reshape(*words.shape[:-1], 8 * words.shape[-1])
