"""HQQ by the package `hqq` (Badri and Shaji 2023): half-quadratic quantisation, without data.

Scales are fixed, zeros are found by a proximal solver for the p-norm of the error. Groups run along
rows; scales and zeros are float16.
"""

from __future__ import annotations

import importlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.data.tensors import Array
from bench.frontier.fixed import pack
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, shelve, to_half

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_BITS = (4, 3, 2)
_GROUP = 64  # what its authors take unless told


def peers() -> list[Peer]:
    """Return groups of 64 at each width; ImportError without the package `hqq`."""
    quantizer = importlib.import_module("hqq.core.quantize").Quantizer
    return [Peer(f"HQQ int{bits} g64", "HQQ", partial(code, quantizer, bits)) for bits in _BITS]


def code(quantizer: Any, bits: int, subject: Subject) -> Coded:
    """Quantise every matrix, embedding and kernel of a model; the rest is float16."""
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}
    for name, values in subject.weights.items():
        if not is_matrix(values):
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
            continue
        levels, scales, zeros = _quantized(quantizer, bits, as_matrix(values))
        found = (levels - zeros.astype(np.float32)) * scales.astype(np.float32)
        decoded[name] = found.reshape(values.shape)
        parts = {"levels": pack(levels, bits), "scales": scales, "zeros": zeros}
        stored |= {f"{name}.{key}": part for key, part in parts.items()}
    return shelve(decoded, stored)


def _quantized(quantizer: Any, bits: int, weights: Array) -> tuple[Array, Array, Array]:
    """Levels, uint8 (groups, members), and float16 scales and zeros, (groups, 1)."""
    levels, about = quantizer.quantize(
        torch.from_numpy(np.ascontiguousarray(weights)),
        nbits=bits,
        group_size=math.gcd(weights.size, _GROUP),
        axis=1,
        optimize=True,
        bitpack=False,
        device="cpu",
        compute_dtype=torch.float32,
    )
    scales, zeros = (to_half(about[key].numpy().reshape(-1, 1)) for key in ("scale", "zero"))
    return levels.numpy().astype(np.uint8).reshape(len(scales), -1), scales, zeros
