"""EntroPack by the package `entropack`: the E8 lattice and rANS at a rate that is asked for.

It needs no data. Each matrix gets the same rate; what the package holds of a matrix is what the
file would have.
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
        if is_matrix(values):
            matrix = torch.from_numpy(np.ascontiguousarray(as_matrix(values)))
            packed = package.compress(matrix, config)
            stored[name] = getattr(packed, _STORED).numpy()
            decoded[name] = package.decompress(packed, config).numpy().reshape(values.shape)
        else:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return shelve(decoded, stored)
