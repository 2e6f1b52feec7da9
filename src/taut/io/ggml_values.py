"""The numbers that ggml's blocks stand for: float32, by the `gguf` package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io.ggml_types import GgmlType

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE: Final = 1 << 22  # bytes of blocks that are taken together
_INTEGERS: Final = {"Q8_1": ("<f4", 0, 8), "Q8_K": ("<f4", 0, 4)}  # scale, its place, the values'

_OWN: Final = frozenset({*_INTEGERS, "Q1_0"})  # what is read here


def dequantized(blocks: NDArray[np.uint8], kind: GgmlType, name: str) -> NDArray[np.float32]:
    """The values of rows of blocks, shape (..., bytes of a row) to (..., values of a row).

    Raises:
        ArgumentError: the `gguf` package is missing, or does not know the type.
    """
    rows = blocks.reshape(-1, blocks.shape[-1])
    out = np.empty((len(rows), blocks.shape[-1] // kind.nbytes * kind.block), np.float32)
    step = max(1, _PIECE // max(1, blocks.shape[-1]))
    for begin in range(0, len(rows), step):
        out[begin : begin + step] = _values(rows[begin : begin + step], kind, name)
    return out.reshape(*blocks.shape[:-1], -1)


def need_reader(kinds: Iterable[GgmlType], where: str) -> None:
    """Refuse blocks of `where` whose numbers only the `gguf` package reads, where it is missing.

    Raises:
        ArgumentError: it is; says what to install.
    """
    told = sorted({kind.name for kind in kinds if not kind.dtype and kind.name not in _OWN})
    if told:
        need_extra("gguf", "gguf", f"{where}: to read {', '.join(told)} as numbers takes")


def _values(rows: NDArray[np.uint8], kind: GgmlType, name: str) -> np.ndarray:
    parts = rows.reshape(len(rows), -1, kind.nbytes)
    if kind.name in _INTEGERS:
        dtype, at, begin = _INTEGERS[kind.name]
        d = np.ascontiguousarray(parts[..., at : at + 4]).view(dtype)
        q = np.ascontiguousarray(parts[..., begin : begin + kind.block]).view(np.int8)
        return (d * q.astype(np.float32)).reshape(len(rows), -1)
    if kind.name == "Q1_0":
        d = np.ascontiguousarray(parts[..., :2]).view("<f2").astype(np.float32)
        bits = np.unpackbits(parts[..., 2:], axis=-1, bitorder="little")
        return np.where(bits, d, -d).reshape(len(rows), -1)
    need_extra("gguf", "gguf", f'tensor "{name}": to read {kind.name} as numbers takes')
    import gguf

    try:
        number = gguf.GGMLQuantizationType[kind.name]
        found: np.ndarray = gguf.quants.dequantize(rows, number)
    except (KeyError, NotImplementedError):
        raise ArgumentError(
            f'tensor "{name}" is {kind.name}, which this version of the gguf package cannot read '
            "as numbers; install a newer one, or take its blocks"
        ) from None
    return found
