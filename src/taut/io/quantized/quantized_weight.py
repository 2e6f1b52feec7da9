"""A low-bit weight: the tensors that it is made of, and how these become floats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import FormatError
from taut.io.dtypes import SAFETENSORS_DTYPES, tensor_nbytes
from taut.io.tensor_info import TensorInfo

Load = Callable[[str], np.ndarray]
Floats = NDArray[np.float32]

HALVES: Final = ("F32", "F16", "BF16")
EITHER: Final = "fetch the checkpoint again, or compress it bit-exact, as it is"
# What quantised layers keep of their inputs: of no use to floats.
_OF_INPUTS: Final = (
    *("input_scale", "input_zero_point", "input_global_scale", "activation_scale"),
    *("input_activation_scale", "output_scale"),
)


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight as `info` has it in floats; `parts` are the tensors that hold it, the first first.

    `told` says how it is held, in a few words; `read` makes float32 of its shape of them.
    """

    info: TensorInfo
    parts: tuple[str, ...]
    told: str
    read: Callable[[Load], Floats] = field(repr=False)

    def floats(self, load: Load) -> np.ndarray:
        """The weight in its dtype: float32 products, rounded once to nearest even.

        Raises:
            FormatError: a product is outside the dtype's range.
        """
        found = self.read(load)
        with np.errstate(over="ignore"):
            values = found.astype(SAFETENSORS_DTYPES[self.info.dtype], copy=False)
        if values.dtype != found.dtype and not np.isfinite(values).all():
            lost = np.isfinite(found) & ~np.isfinite(values)
            if lost.any():
                raise FormatError(
                    f'tensor "{self.info.name}" has the value {float(found[lost][0]):.6g}, which '
                    f"{self.info.dtype} does not hold; set a wider dtype in config.json"
                )
        return np.ascontiguousarray(values).reshape(self.info.shape)


def infos_as_floats(
    infos: Iterable[TensorInfo], weights: Collection[QuantizedWeight]
) -> tuple[TensorInfo, ...]:
    """Tensors with each low-bit weight, as floats, in the place of the first of its parts."""
    first = {weight.parts[0]: weight.info for weight in weights}
    parts = {part for weight in weights for part in weight.parts}
    kept = (info for info in infos if info.name in first or info.name not in parts)
    return tuple(first.get(info.name, info) for info in kept)


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint by name, and what loads them; `where` names it in messages."""

    infos: Mapping[str, TensorInfo]
    load: Load
    where: str

    def get(self, name: str) -> TensorInfo | None:
        """What there is to know of a tensor, or None."""
        return self.infos.get(name)

    def need(self, name: str, of: str, dtypes: Iterable[str]) -> TensorInfo:
        """A tensor without which `of` cannot be read.

        Raises:
            FormatError: it is missing, or of another dtype.
        """
        info = self.infos.get(name)
        if info is None:
            raise FormatError(
                f'{self.where}: tensor "{name}" is missing, without which "{of}" cannot be read as '
                f"floats; {EITHER}"
            )
        if info.dtype not in (known := tuple(dtypes)):
            raise self.wrong(name, f"is {info.dtype}, and should be {' or '.join(known)}")
        return info

    def wrong(self, name: str, why: str) -> FormatError:
        """That a tensor is not what it should be."""
        return FormatError(f'{self.where}: tensor "{name}" {why}; {EITHER}')

    def expect(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise `FormatError` unless a tensor has this shape."""
        found = self.infos[name].shape
        if found != shape:
            raise self.wrong(name, f"has the shape {list(found)}, and should have {list(shape)}")

    def expect_groups(self, name: str, of: str, columns: int, groups: int) -> None:
        """Raise `FormatError` unless a tensor gives each of `columns` one of the groups."""
        self.need(name, of, ("I32", "I64"))
        self.expect(name, (columns,))
        found = self.load(name)
        odd = found[(found < 0) | (found >= groups)]
        if odd.size:
            raise self.wrong(name, f"names the group {int(odd[0])}, and there are {groups} of them")

    def weight(
        self,
        name: str,
        parts: Iterable[str],
        shape: tuple[int, ...],
        dtype: str,
        told: str,
        read: Callable[[Load], Floats],
    ) -> QuantizedWeight:
        """A low-bit weight of these tensors, with what its layer keeps of its inputs.

        Raises:
            FormatError: there is another tensor of the weight's name.
        """
        held = tuple(parts)
        stem = name.rpartition(".")[0]
        beside = [f"{stem}.{one}" for one in _OF_INPUTS if stem and f"{stem}.{one}" in self.infos]
        if name in self.infos and name not in held:
            raise self.wrong(name, f'is there beside "{held[0]}", which is the same weight')
        info = TensorInfo(name, dtype, shape, tensor_nbytes(dtype, shape))
        return QuantizedWeight(info, (*held, *beside), told, read)


def as_float32(values: np.ndarray) -> Floats:
    """Values of any dtype as float32; exponents (E8M0, also as bytes) as powers of two.

    >>> as_float32(np.array([126, 127, 129], np.uint8)).tolist()
    [0.5, 1.0, 4.0]
    """
    if values.dtype == np.uint8:
        return np.ldexp(np.float32(1), values.astype(np.int32) - 127).astype(np.float32)
    return values.astype(np.float32)


def spread(scales: Floats, shape: tuple[int, ...], block: tuple[int, int]) -> Floats:
    """Scales of blocks (rows, columns) of a matrix, or a stack of them, one for each value.

    >>> spread(np.array([[1.0, 2.0]], np.float32), (1, 3), (1, 2)).tolist()
    [[1.0, 1.0, 2.0]]
    """
    rows, columns = shape[-2:]
    tall, wide = min(block[0], rows), min(block[1], columns)  # as a config has them they are any
    found = np.repeat(scales, tall, axis=-2)[..., :rows, :] if tall > 1 else scales
    return np.repeat(found, wide, axis=-1)[..., :columns] if wide > 1 else found


def grid_of(
    tensors: Tensors, scale: str, shape: tuple[int, ...], block: tuple[int, int] | None
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape that scales are to be seen in, and the block that each of them is for.

    `block` is what the config says. Whole tensors and rows, and groups of columns, are taken where
    the scales' shape says so.

    Raises:
        FormatError: the scales' shape fits neither.
    """
    found: tuple[int, ...] = tensors.infos[scale].shape
    if prod(found) == 1:
        return (1,) * len(shape), (shape[-2], shape[-1])
    if len(found) == len(shape) - 1 and found == shape[:-1]:
        found = (*found, 1)
    if len(found) == len(shape) and found[:-2] == shape[:-2] and all(found):
        each = _block_of(found, shape, block)
        if each is not None:
            return found, each
    told = "" if block is None else f" in blocks of {list(block)}, as the config says"
    raise tensors.wrong(scale, f"has the shape {list(found)}, which are no scales of a weight of "
                        f"{list(shape)}{told}")  # fmt: skip


def _block_of(
    scales: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int] | None
) -> tuple[int, int] | None:
    """What each scale is for: the `block` of the config, a row, a group of columns; else None."""
    (rows, columns), (tall, wide) = shape[-2:], scales[-2:]
    if block is not None and (tall, wide) == (-(-rows // block[0]), -(-columns // block[1])):
        return block
    if rows % tall or columns % wide or (block is not None and tall not in (1, rows)):
        return None
    return rows // tall, columns // wide
