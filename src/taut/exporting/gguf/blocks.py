"""A tensor's values in a type of GGUF: floats, or integers of 32 to a block with one scale each.

Surprise: a block's scale is float16, so that even integers that are the file's own give its values
back only as near as float16 holds their scale: about one part in 2,000. Values on a grid whose
scales run along the other axis (those of a matrix that is stored transposed) have no such integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.exporting.integers import Integers, to_integers
from taut.io.dtypes import LARGEST_HALF

Parts: TypeAlias = Callable[[], Iterable[np.ndarray]]
"""Gives all values of a tensor, some rows at a time."""

BLOCK: Final = 32
TYPES: Final = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int8": "Q8_0",
    "int4": "Q4_0",
}
_BITS: Final = {"Q8_0": 8, "Q4_0": 4}
_INTEGERS: Final = {"int8": "Q8_0", "int4": "Q4_0"}
GRIDS: Final = (*_INTEGERS, "int3", "int2", "ternary", "binary")  # schemes of integers


def type_of(name: str, shape: tuple[int, ...], wanted: str) -> str:
    """The type that a tensor is stored in, of GGUF's `name`, where `wanted` is that of matrices.

    As runtimes expect, vectors and tables of positions stay float32, and beside 4-bit matrices the
    embedding and the output have 8 bits; a row that is no whole number of blocks is float16.

    >>> type_of("token_embd.weight", (100, 64), "Q4_0"), type_of("a.weight", (64, 40), "Q4_0")
    ('Q8_0', 'F16')
    """
    if _stays_float32(name, len(shape)):
        return "F32"
    if wanted in _BITS and shape[-1] % BLOCK:
        return "F16"
    if wanted == "Q4_0" and name in ("token_embd.weight", "output.weight"):
        return "Q8_0"
    return wanted


def _stays_float32(name: str, dimensions: int) -> bool:
    return dimensions < 2 or name.startswith(("position_embd", "token_types"))


def own_type(name: str, shape: tuple[int, ...], dtype: str) -> str:
    """The type that holds a tensor of a file, `dtype` by safetensors' name, as it is.

    >>> own_type("blk.0.ffn_up.weight", (8, 8), "BF16"), own_type("output.weight", (8, 8), "F64")
    ('BF16', 'F32')
    """
    return "F32" if _stays_float32(name, len(shape)) or dtype == "F64" else dtype


def held_type(name: str, shape: tuple[int, ...], dtype: str, values: Parts, scheme: str) -> str:
    """The type that holds values, in GGUF's order, which a scheme has rounded.

    Integers of 8 or 4 bits stay integers where blocks of 32 in a row have one scale; else it is
    float16 where that has the very values, or the dtype's own type, `dtype` by safetensors' name.
    """
    own = own_type(name, shape, dtype)
    if _stays_float32(name, len(shape)):
        return own
    if scheme in _INTEGERS and shape[-1] % BLOCK == 0:
        kind = _INTEGERS[scheme]
        if holds_integers(values, kind, scheme):
            return kind
    return "F16" if own == "F32" and all(map(_is_half, values())) else own


def holds_integers(values: Parts, kind: str, scheme: str) -> bool:
    """Whether a scheme has rounded all values to integers that a type of GGUF holds."""
    if kind not in _BITS or scheme not in GRIDS:
        return False
    return all(_found(part, kind) is not None for part in values())


def blocks(
    name: str, values: np.ndarray, kind: str, *, gridded: bool, whole: Parts | None = None
) -> tuple[np.ndarray, bool]:
    """The values of a tensor in a type of GGUF: float32 or float16 as they are, else bytes.

    Integers behind `gridded` values are looked for, and kept where the type holds them; the second
    of what is given tells whether they were. `whole` gives all values, for what an error says.

    Raises:
        ArgumentError: a value, or a scale, is too large for float16; names the tensor.
    """
    import gguf

    floats: NDArray[np.float32] = np.ascontiguousarray(values, np.float32)
    if kind in ("F16", *_BITS) and _largest(floats) > LARGEST_HALF:
        top = max(map(_largest, [floats] if whole is None else whole()))
        raise ArgumentError(
            f'tensor "{name}": its largest value, {top:g}, is beyond float16; take bfloat16 or '
            "float32"
        )
    if kind in _BITS and gridded and (found := _found(values, kind)) is not None:
        return _own(found.values, found.scales, kind), True
    packed: np.ndarray = gguf.quants.quantize(floats, gguf.GGMLQuantizationType[kind])
    return packed, False


def _largest(values: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.abs(values).max(initial=0))


def _found(values: np.ndarray, kind: str) -> Integers | None:
    """The integers of blocks, where the type holds them and float16 their scales."""
    found = to_integers(np.ascontiguousarray(values), _BITS[kind], group=BLOCK)
    return found if found.exact and _fit(found.scales) else None


def _fit(scales: NDArray[np.float32]) -> bool:
    """Whether float16 has such scales to its full width."""
    return bool(((scales >= 2.0**-14) & (scales <= LARGEST_HALF)).all())


def _is_half(values: np.ndarray) -> bool:
    """Whether float16 has these very values."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16).astype(values.dtype) == values).all())


def _own(q: NDArray[np.int32], scales: NDArray[np.float32], kind: str) -> np.ndarray:
    """Blocks of integers that were found: the scale first; of 4 bits, value i with i + 16."""
    rows = len(q)
    parts = q.reshape(rows, -1, BLOCK)
    if kind == "Q8_0":
        data: NDArray[np.uint8] = parts.astype(np.int8).view(np.uint8)
    else:
        nibbles = (parts + 8).astype(np.uint8)
        data = nibbles[..., : BLOCK // 2] | nibbles[..., BLOCK // 2 :] << np.uint8(4)
    halves = scales.astype("<f2").reshape(rows, -1, 1).view(np.uint8)
    return np.concatenate([halves, data], axis=2).reshape(rows, -1)
