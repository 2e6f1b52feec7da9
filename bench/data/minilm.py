"""The bench's data: the 40 matrices of the MiniLM sentence encoder as five kinds of symbols.

    fp32   the weights as they are
    bf16   rounded to nearest even
    fp16   rounded to nearest even
    int8   per channel: q = rint(w / s), s = max |row| / 127; one symbol in [-127, 127] a byte
    int4   per group of 128 along the row, as llama.cpp's Q4_0 does it with groups of 32:
           d = m / -8, where m is the value of largest magnitude, with its sign;
           q = min(15, floor(w / d + 8.5)); one symbol in [0, 15] a byte, its upper half is zero

The scales are not part of the data. Order-0 entropy per tensor: int8 7.260 bits, int4 3.513.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from bench.data.tensors import Array
from taut.demo.minilm import find_minilm

DTYPES = ("fp32", "bf16", "fp16", "int8", "int4")
GROUP = 128


def load_weights() -> dict[str, Array]:
    """Return all 103 tensors of the encoder, float32 (one int64), in the file's order."""
    return dict(load_file(find_minilm() / "model.safetensors"))


def is_matrix(values: Array) -> bool:
    """Say whether a tensor is one of the 2-D float tensors that every figure is about."""
    return bool(values.ndim == 2 and values.dtype.kind == "f")


def matrices(dtype: str) -> dict[str, Array]:
    """Return the 40 matrices (22,682,112 values) as one of `DTYPES`, C-contiguous."""
    convert: dict[str, Callable[[Array], Array]] = {
        "fp32": lambda w: w,
        "bf16": lambda w: w.astype(ml_dtypes.bfloat16),
        "fp16": lambda w: w.astype(np.float16),
        "int8": to_int8,
        "int4": to_int4,
    }
    return {
        name: np.ascontiguousarray(convert[dtype](w))
        for name, w in load_weights().items()
        if is_matrix(w)
    }


def to_int8(weights: Array) -> Array:
    """Quantise float32 (rows, columns) to int8 symbols, one scale a row."""
    peak = np.abs(weights).max(axis=1, keepdims=True)
    return np.rint(weights * (127 / np.where(peak == 0, 1, peak))).astype(np.int8)


def to_int4(weights: Array) -> Array:
    """Quantise float32 (rows, columns) to uint8 symbols of 0..15, one scale a group of 128."""
    groups = weights.reshape(-1, GROUP)
    peak = np.take_along_axis(groups, np.abs(groups).argmax(axis=1)[:, None], axis=1)
    step = np.where(peak == 0, np.float32(1), peak / np.float32(-8))
    levels = np.minimum(15, np.floor(groups / step + np.float32(8.5)))
    return levels.astype(np.uint8).reshape(weights.shape)


def round_to_int4(weights: Array) -> Array:
    """Return float32 (rows, columns) rounded to the nearest of 16 levels between each group's ends.

    The usual asymmetric int4: a float16 step and a 4-bit zero point a group, 4.156 bits a weight.
    """
    groups = weights.reshape(-1, GROUP)
    low = np.minimum(groups.min(axis=1, keepdims=True), 0)
    high = np.maximum(groups.max(axis=1, keepdims=True), 0)
    step = ((high - low) / 15).astype(np.float16).astype(np.float32)
    step[step == 0] = 1
    zero = np.rint(-low / step)
    levels = np.clip(np.rint(groups / step) + zero, 0, 15)
    values: Array = (levels - zero) * step
    return values.reshape(weights.shape)


def entropy_order0(arrays: list[Array]) -> float:
    """Return bits per symbol of an ideal coder with one histogram per array (1-byte symbols)."""
    bits = 0.0
    for array in arrays:
        count = np.bincount(array.reshape(-1).view(np.uint8), minlength=256)
        p = count[count > 0].astype(np.float64)
        bits -= float((p * np.log2(p / p.sum())).sum())
    return bits / sum(a.size for a in arrays)


def relative_error(original: Mapping[str, Array], decoded: Mapping[str, Array]) -> float:
    """Return the sum of squared errors over the sum of squares, over all matrices together."""
    error = power = 0.0
    for name, meant in original.items():
        if is_matrix(meant):
            difference = decoded[name].astype(np.float64) - meant
            error += float(np.square(difference).sum())
            power += float(np.square(meant, dtype=np.float64).sum())
    return error / power
