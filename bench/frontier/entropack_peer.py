"""EntroPack by the package `entropack`: the E8 lattice and rANS at a rate that is asked for.

It needs no data. Each matrix gets the same rate; what the package holds of a matrix is what the
file would have. A small matrix, whose tables take more than its share, comes back as noise or
zeros: what loses a fifth of its power stays float16.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.data.tensors import Array
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, shelve, to_half

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_BITS = (2.0, 3.0, 4.0)
_MOST_LOST = 0.2  # of a matrix's power: at 2 bits they lose a tenth
_STORED = "entropack_quant_state"


def peers() -> list[Peer]:
    """Return a point for each rate; ImportError without the package `entropack`."""
    package = importlib.import_module("entropack")
    return [
        Peer(f"EntroPack {bits:g} bits", "EntroPack", partial(code, package, bits))
        for bits in _BITS
    ]


def code(package: Any, bits: float, subject: Subject) -> Coded:
    """Compress every matrix, embedding and kernel of a model; the rest is float16."""
    config = package.EntroPackLossyConfig(target_bpp=bits)
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}
    for name, values in subject.weights.items():
        found, held = _coded(package, config, values) if is_matrix(values) else (None, None)
        if found is None or _lost(values, found) > _MOST_LOST:
            held = to_half(values)
            found = held.astype(np.float32)
        decoded[name], stored[name] = found, held
    return shelve(decoded, stored)


def _coded(package: Any, config: Any, values: Array) -> tuple[Array, Array]:
    """What comes back of a matrix, and the bytes that the package holds of it, uint8."""
    packed = package.compress(torch.from_numpy(np.ascontiguousarray(as_matrix(values))), config)
    found = package.decompress(packed, config).numpy().reshape(values.shape)
    return found, getattr(packed, _STORED).numpy()


def _lost(values: Array, found: Array) -> float:
    return float(np.square(found - values).sum() / max(np.square(values).sum(), 1e-30))
