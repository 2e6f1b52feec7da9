"""What bitsandbytes keeps: NF4 and FP4 codes with a state of quantisation, and int8 by rows.

Surprise: the high nibble of a byte is the first. The state's numbers are JSON in a tensor of bytes;
the maxima of blocks may themselves be codes of eight bits ("double quantisation").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from taut.io.dtypes import MAX_DIMENSIONS
from taut.io.quantized.bit_words import split_nibbles
from taut.io.quantized.declared import DTYPES, Declared
from taut.io.quantized.quantized_weight import Floats, Load, QuantizedWeight, Tensors
from taut.io.tensor_info import TensorInfo

STATE: Final = ".quant_state.bitsandbytes__"
"""What the names of states hold, after the weight's and before the kind of codes."""
_MOST_STATE: Final = 1 << 16  # bytes
_MOST_SIZE: Final = 1 << 48
_FAR: Final = 1e30  # of an offset that is added in float32
_INT8: Final = np.float32(1 / 127)


def bitsandbytes_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """Every weight of bitsandbytes, of four or eight bits.

    Raises:
        FormatError: a part is missing or does not fit.
    """
    for info in [*tensors.infos.values()]:
        if STATE in info.name:
            yield _four_bits(tensors, info)
        elif info.name.endswith(".absmax"):
            _need_state(tensors, info.name.removesuffix(".absmax"))
        elif info.name.endswith(".SCB"):
            name = info.name.removesuffix("SCB") + "weight"
            yield _int8(tensors, name, info.name, declared)
        elif info.dtype == "I8" and info.name.endswith(".weight") and len(info.shape) == 2:
            tensors.need(info.name.removesuffix("weight") + "SCB", info.name, ("F32",))


def has_states(tensors: Tensors) -> bool:
    """Whether a checkpoint tells by itself that it is of bitsandbytes: by its states."""
    return any(STATE in name for name in tensors.infos)


def _need_state(tensors: Tensors, weight: str) -> None:
    if not any(name.startswith(f"{weight}{STATE}") for name in tensors.infos):
        tensors.need(f"{weight}{STATE}nf4", weight, ("U8",))


@dataclass(frozen=True)
class _State:
    """The numbers of a state."""

    block: int
    dtype: str
    shape: tuple[int, ...]
    nested_block: int | None
    nested_offset: float


def _four_bits(tensors: Tensors, state: TensorInfo) -> QuantizedWeight:
    """A weight of two codes a byte."""
    name, _, kind = state.name.partition(STATE)
    numbers = _state(tensors, state)
    held = tensors.need(name, state.name, ("U8", "BF16", "F16", "F32"))
    count = prod(numbers.shape)
    if held.nbytes != -(-count // 2):
        raise tensors.wrong(name, f"has {held.nbytes} bytes, and {count} codes of "
                            f"{list(numbers.shape)} take {-(-count // 2)}")  # fmt: skip
    blocks = -(-count // numbers.block)
    nested = numbers.nested_block is not None
    tensors.need(f"{name}.absmax", name, ("U8",) if nested else ("F32",))
    tensors.expect(f"{name}.absmax", (blocks,))
    tensors.need(f"{name}.quant_map", name, ("F32",))
    tensors.expect(f"{name}.quant_map", (16,))
    parts = [name, state.name, f"{name}.absmax", f"{name}.quant_map"]
    if numbers.nested_block is not None:
        parts += _nested(tensors, name, -(-blocks // numbers.nested_block))

    def read(load: Load) -> Floats:
        codes = split_nibbles(load(name).reshape(-1).view(np.uint8), high_first=True)[:count]
        values: Floats = load(f"{name}.quant_map")[codes]
        maxima = _maxima(load, name, numbers)
        values *= np.repeat(maxima, min(numbers.block, count))[:count]
        return values.reshape(numbers.shape)

    told = f"{kind.upper()} of bitsandbytes, blocks of {numbers.block}"
    return tensors.weight(name, parts, numbers.shape, numbers.dtype, told, read)


def _nested(tensors: Tensors, name: str, blocks: int) -> list[str]:
    """The tensors of which the maxima of blocks are made, checked."""
    maxima, levels = f"{name}.nested_absmax", f"{name}.nested_quant_map"
    tensors.need(maxima, name, ("F32",))
    tensors.expect(maxima, (blocks,))
    tensors.need(levels, name, ("F32",))
    tensors.expect(levels, (256,))
    return [maxima, levels]


def _maxima(load: Load, name: str, numbers: _State) -> Floats:
    found = load(f"{name}.absmax")
    if numbers.nested_block is None:
        return found.astype(np.float32)
    each: Floats = load(f"{name}.nested_quant_map")[found]
    block = min(numbers.nested_block, each.size)
    each *= np.repeat(load(f"{name}.nested_absmax"), block)[: each.size]
    return each + np.float32(numbers.nested_offset)


def _int8(tensors: Tensors, name: str, scale: str, declared: Declared) -> QuantizedWeight:
    """A weight of int8 with the largest value of each row."""
    held = tensors.need(name, scale, ("I8",))
    tensors.need(scale, name, ("F32",))
    if len(held.shape) != 2:
        raise tensors.wrong(name, f"has the shape {list(held.shape)}, and should be a matrix")
    tensors.expect(scale, held.shape[:1])
    layout = scale.removesuffix("SCB") + "weight_format"
    if layout in tensors.infos and np.any(tensors.load(layout)):
        raise tensors.wrong(layout, "says another order than rows")

    def read(load: Load) -> Floats:
        scales = load(scale).astype(np.float32)[:, None]
        return load(name).astype(np.float32) * scales * _INT8

    parts = (name, scale, *((layout,) if layout in tensors.infos else ()))
    told = "int8 of bitsandbytes, a scale a row"
    return tensors.weight(name, parts, held.shape, declared.dtype or "F16", told, read)


def _state(tensors: Tensors, info: TensorInfo) -> _State:
    """The numbers in a state's bytes.

    Raises:
        FormatError: they are no such numbers.
    """
    if info.dtype != "U8" or info.nbytes > _MOST_STATE:
        raise tensors.wrong(info.name, "is no state of quantisation")
    try:
        tree = json.loads(tensors.load(info.name).tobytes())
        return _numbers(tree)
    except (ValueError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as error:
        raise tensors.wrong(info.name, f"is no state of quantisation ({error})") from None


def _numbers(tree: Mapping[str, object]) -> _State:
    """A state from its JSON; raises ValueError, KeyError or TypeError if it is none."""
    dtype, shape, offset = tree["dtype"], tree["shape"], tree.get("nested_offset", 0.0)
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise ValueError("shape is no list of sizes")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r:.40}")
    if not isinstance(offset, (int, float)) or not abs(offset) < _FAR:
        raise ValueError(f"nested_offset is {offset!r:.40}")
    nested = tree.get("nested_blocksize")
    return _State(
        block=_size(tree["blocksize"]),
        dtype=DTYPES[dtype],
        shape=tuple(map(_size, shape)),
        nested_block=None if nested is None else _size(nested),
        nested_offset=float(offset),
    )


def _size(number: object) -> int:
    if type(number) is not int or not 1 <= number < _MOST_SIZE:
        raise ValueError(f"{number!r:.40} is no size")
    return number
