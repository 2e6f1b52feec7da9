"""What a peer makes of a model: the weights that come back, and bytes as a file would have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from bench.data.tensors import Array

if TYPE_CHECKING:
    from bench.subjects.subject import Subject


@dataclass(frozen=True)
class Coded:
    """A model after a codec: float32 weights by name, and the size of everything on disk."""

    decoded: dict[str, Array]
    nbytes: int


@dataclass(frozen=True)
class Peer:
    """A codec by its name in the tables and the curve that it is a point of.

    `calibrated` says that its result depends on the subject's calibration data.
    """

    name: str
    curve: str
    code: Callable[[Subject], Coded]
    calibrated: bool = False


def shelve(decoded: Mapping[str, Array], stored: Mapping[str, Array]) -> Coded:
    """Count `stored` as a safetensors file, header included; names and shapes cost bytes too."""
    return Coded(dict(decoded), len(save({name: _plain(v) for name, v in stored.items()})))


def is_matrix(values: Array) -> bool:
    """Say whether peers quantise a tensor: matrices, embeddings and kernels, not vectors."""
    return values.ndim >= 2


def as_matrix(values: Array) -> Array:
    """Fold all axes but the first into columns: one row an output, or a word."""
    return values.reshape(len(values), -1)


def to_half(values: Array) -> Array:
    """Round to float16, as every peer keeps what it does not quantise."""
    return values.astype(np.float16)


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values)
