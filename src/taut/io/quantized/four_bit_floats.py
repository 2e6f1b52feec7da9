"""Weights of four-bit floats (E2M1): MXFP4 and NVFP4, as gpt-oss, ModelOpt and compressed-tensors.

Surprise: compressed-tensors divides by NVFP4's global scale, ModelOpt multiplies by its
`weight_scale_2`. What gpt-oss stores by output is an expert's matrix transposed: the network has
(experts, inputs, outputs).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

import numpy as np

from taut.io.quantized.bit_words import E2M1, split_nibbles
from taut.io.quantized.declared import Declared
from taut.io.quantized.quantized_weight import Floats, Load, QuantizedWeight, Tensors, as_float32
from taut.io.quantized.scaled import fp8_weights
from taut.io.tensor_info import TensorInfo

MX_GROUP: Final = 32
NV_GROUP: Final = 16


def mxfp4_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """The experts of gpt-oss: `_blocks` (.., rows, groups, 16) and `_scales` (.., rows, groups).

    Raises:
        FormatError: one of the two is missing, or they do not fit.
    """
    for info in [*tensors.infos.values()]:
        if info.name.endswith("_scales"):
            tensors.need(f"{info.name.removesuffix('_scales')}_blocks", info.name, ("U8",))
        if not info.name.endswith("_blocks"):
            continue
        name = info.name.removesuffix("_blocks")
        if len(info.shape) < 3 or info.shape[-1] != MX_GROUP // 2:
            raise tensors.wrong(info.name, f"has the shape {list(info.shape)}; blocks of MXFP4 are "
                                f"(.., rows, groups, {MX_GROUP // 2})")  # fmt: skip
        scales = f"{name}_scales"
        tensors.need(scales, info.name, ("U8", "F8_E8M0"))
        tensors.need(info.name, name, ("U8",))
        tensors.expect(scales, info.shape[:-1])
        yield _expert(tensors, info, scales, declared)


def _expert(tensors: Tensors, info: TensorInfo, scales: str, declared: Declared) -> QuantizedWeight:
    *stack, rows, groups, _ = info.shape
    columns = MX_GROUP * groups

    def read(load: Load) -> Floats:
        found = E2M1[split_nibbles(load(info.name))]
        found *= as_float32(load(scales))[..., None]
        return np.swapaxes(found.reshape(*stack, rows, columns), -1, -2)

    return tensors.weight(
        info.name.removesuffix("_blocks"),
        (info.name, scales),
        (*stack, columns, rows),
        declared.dtype or "BF16",
        "MXFP4",
        read,
    )


def modelopt_weights(tensors: Tensors, declared: Declared) -> Iterator[QuantizedWeight]:
    """ModelOpt's weights: NVFP4 in bytes with two scales, or FP8 with one.

    Raises:
        FormatError: a scale is missing, or does not fit.
    """
    yield from fp8_weights(_without_scales(tensors), declared)
    for info in [*tensors.infos.values()]:
        if not info.name.endswith(".weight") or info.dtype != "U8" or len(info.shape) < 2:
            continue
        yield four_bit_weight(
            tensors, info, info.name, f"{info.name}_scale_2", declared, divided=False
        )


def _without_scales(tensors: Tensors) -> Tensors:
    """The tensors without the scales of NVFP4, which are matrices of FP8 themselves."""
    whole = tensors.infos
    infos = {
        name: info
        for name, info in whole.items()
        if not name.endswith("_scale") or not (f"{name}_2" in whole or _packs(tensors, name[:-6]))
    }
    return Tensors(infos, tensors.load, tensors.where)


def _packs(tensors: Tensors, name: str) -> bool:
    """Whether a tensor holds codes as bytes: its scales are of NVFP4, whatever else is missing."""
    info = tensors.get(name)
    return info is not None and info.dtype == "U8"


def four_bit_weight(
    tensors: Tensors,
    info: TensorInfo,
    name: str,
    whole: str | None,
    declared: Declared,
    *,
    divided: bool,
) -> QuantizedWeight:
    """A weight `name` of two codes a byte, (.., rows, columns / 2), with scales of groups.

    With `whole`, the scale of all of it, it is NVFP4; else MXFP4. `divided`: groups' scales are
    divided by it, and not multiplied.
    """
    scale, shape = f"{name}_scale", (*info.shape[:-1], 2 * info.shape[-1])
    group = MX_GROUP if whole is None else NV_GROUP
    tensors.need(scale, info.name, ("U8", "F8_E8M0") if whole is None else ("F8_E4M3",))
    if shape[-1] % group:
        raise tensors.wrong(info.name, f"has {shape[-1]} columns, which groups of {group} do not "
                            "divide")  # fmt: skip
    tensors.expect(scale, (*shape[:-1], shape[-1] // group))
    if whole is not None:
        _check_whole(tensors, whole, info)

    def read(load: Load) -> Floats:
        one = None if whole is None else load(whole)
        return from_four_bits(load(info.name), load(scale), one, divided=divided)

    parts = (info.name, scale, *(() if whole is None else (whole,)))
    told = "MXFP4" if whole is None else "NVFP4"
    return tensors.weight(name, parts, shape, declared.dtype or "BF16", told, read)


def from_four_bits(
    packed: np.ndarray, scales: np.ndarray, whole: np.ndarray | None, *, divided: bool = True
) -> Floats:
    """Floats of codes (.., rows, columns / 2) and scales of groups; of NVFP4 `whole` is of all.

    >>> scales, codes = np.array([[128]], np.uint8), np.full((1, 16), 0x21, np.uint8)
    >>> from_four_bits(codes, scales, None)[0, :2].tolist()
    [1.0, 2.0]
    """
    each = as_float32(scales)
    if whole is not None:
        one = whole.astype(np.float32).reshape(-1)
        one = one.reshape(-1 if one.size > 1 else 1, *(1,) * (each.ndim - 1))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            each = each / one if divided else each * one
    codes = split_nibbles(packed)
    with np.errstate(invalid="ignore", over="ignore"):
        found: Floats = E2M1[codes.reshape(*each.shape, -1)] * each[..., None]
    return found.reshape(codes.shape)


def _check_whole(tensors: Tensors, whole: str, info: TensorInfo) -> None:
    """The scale of a whole weight is one number, or one for each of a stack."""
    found = tensors.need(whole, info.name, ("F32", "F16", "BF16")).shape
    count = prod(found)
    if count != 1 and (len(info.shape) != 3 or count != info.shape[0]):
        raise tensors.wrong(whole, f"has the shape {list(found)}, and should be one number")
