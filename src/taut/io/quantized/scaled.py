"""Weights of eight bits with scales: FP8 and int8, of whole tensors, rows, groups or blocks.

Read here: transformers' fine-grained FP8 (`weight_scale_inv`), FBGEMM's, ModelOpt's FP8, and the
formats of compressed-tensors that leave a weight its shape. All multiply by the scale, whatever it
is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from taut.io.quantized.bit_words import E2M1, split_nibbles
from taut.io.quantized.declared import Declared
from taut.io.quantized.quantized_weight import (
    HALVES,
    Floats,
    Load,
    QuantizedWeight,
    Tensors,
    as_float32,
    grid_of,
    spread,
)
from taut.io.tensor_info import TensorInfo

FP8: Final = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_EXPONENTS: Final = ("U8", "F8_E8M0")
_SCALES: Final = (*HALVES, *_EXPONENTS)
_SUFFIXES: Final = ("_scale_inv", "_scale")


def fp8_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """Every matrix of eight-bit floats, and of packed four-bit ones with scales beside them.

    Raises:
        FormatError: a scale is missing, or fits no weight; the tensor is named.
    """
    block = declared.pair("weight_block_size")
    for info in [*tensors.infos.values()]:
        scale = _scale_of(tensors, info.name)
        if info.dtype in FP8 and len(info.shape) > 1:
            name = scale or f"{info.name}{_expected(tensors)}"
            yield scaled_weight(tensors, info, name, block, declared)
        elif info.dtype == "I8" and scale is not None and len(info.shape) > 1:
            yield _four_bits(tensors, info, scale, declared)


def scaled_weight(
    tensors: Tensors,
    info: TensorInfo,
    scale: str,
    block: tuple[int, int] | None,
    declared: Declared,
    *,
    zero: str | None = None,
) -> QuantizedWeight:
    """A weight that keeps its shape, times scales; `zero` are points that stand for zero."""
    held = tensors.need(scale, info.name, _SCALES)
    grid, blocks = grid_of(tensors, scale, info.shape, block)
    if zero is not None:
        tensors.need(zero, info.name, ("I8", "U8", "I32"))
        tensors.expect(zero, held.shape)

    def read(load: Load) -> Floats:
        found = load(info.name).astype(np.float32)
        if zero is not None:
            found -= spread(load(zero).astype(np.float32).reshape(grid), info.shape, blocks)
        found *= spread(as_float32(load(scale)).reshape(grid), info.shape, blocks)
        return found

    parts = (info.name, scale, *(() if zero is None else (zero,)))
    told = f"{_kind(info.dtype)}, {_shared(info.shape, blocks)}"
    return tensors.weight(info.name, parts, info.shape, _dtype(held, declared), told, read)


def _four_bits(
    tensors: Tensors, info: TensorInfo, scale: str, declared: Declared
) -> QuantizedWeight:
    """Experts of four-bit floats among weights of FP8: two codes a byte, with scales of groups."""
    held = tensors.need(scale, info.name, _SCALES)
    shape = (*info.shape[:-1], 2 * info.shape[-1])
    grid, blocks = grid_of(tensors, scale, shape, None)

    def read(load: Load) -> Floats:
        found = E2M1[split_nibbles(load(info.name).view(np.uint8))]
        return found * spread(as_float32(load(scale)).reshape(grid), shape, blocks)

    told = f"FP4, {_shared(shape, blocks)}"
    return tensors.weight(info.name, (info.name, scale), shape, _dtype(held, declared), told, read)


def _scale_of(tensors: Tensors, name: str) -> str | None:
    return next((name + end for end in _SUFFIXES if name + end in tensors.infos), None)


def _expected(tensors: Tensors) -> str:
    """How the scales of this checkpoint are called."""
    ends = (end for end in _SUFFIXES if any(name.endswith(end) for name in tensors.infos))
    return next(ends, _SUFFIXES[0])


def _dtype(scale: TensorInfo, declared: Declared) -> str:
    """That of the model; without one what the scales say, or bfloat16."""
    own = scale.dtype if scale.dtype in HALVES else "BF16"
    return declared.dtype or own


def _kind(dtype: str) -> str:
    return "FP8" if dtype in FP8 else "int8"


def _shared(shape: tuple[int, ...], block: tuple[int, int]) -> str:
    """What of a weight shares a scale, in words.

    >>> _shared((8, 64), (1, 64)), _shared((8, 64), (8, 64)), _shared((8, 64), (1, 32))
    ('a scale a row', 'a scale a tensor', 'a scale a group of 32')
    >>> _shared((8, 64), (4, 32))
    'a scale a block of 4x32'
    """
    rows, columns = shape[-2:]
    if block == (rows, columns):
        return "a scale a tensor"
    if block[0] > 1:
        return f"a scale a block of {block[0]}x{block[1]}"
    return "a scale a row" if block[1] == columns else f"a scale a group of {block[1]}"
