"""Integers as compressed-tensors lays them out: dense in 32-bit words, the first one lowest.

Surprise: values are packed with half of their range added, so that they are not negative, and the
bits that fill up the last word are zero; zero points of a packed weight are packed along the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.exporting.integers import Integers


@dataclass(frozen=True)
class PackedGrid:
    """Integers of `bits`, a scale a `group` of columns, or a row; `dynamic`: activations, too."""

    bits: int
    group: int | None = None
    asymmetric: bool = False
    dynamic: bool = False

    @property
    def format(self) -> str:
        """What compressed-tensors calls the layout."""
        return "int-quantized" if self.dynamic else "pack-quantized"

    @property
    def told(self) -> str:
        """What weights are, in words."""
        per = f"a scale a group of {self.group}" if self.group else "a scale a row"
        return f"int{self.bits}, {per}" + (", with zero points" if self.asymmetric else "")

    def config(self, ignored: Sequence[str]) -> dict[str, object]:
        """The `quantization_config` of a folder's config."""
        weights = {
            "num_bits": self.bits,
            "type": "int",
            "symmetric": not self.asymmetric,
            "strategy": "group" if self.group else "channel",
            "group_size": self.group,
            "dynamic": False,
        }
        inputs = {
            "num_bits": 8,
            "type": "int",
            "symmetric": True,
            "strategy": "token",
            "dynamic": True,
        }
        return quantization_config(self.format, weights, inputs if self.dynamic else None, ignored)


def quantization_config(
    layout: str,
    weights: Mapping[str, object],
    inputs: Mapping[str, object] | None,
    ignored: Sequence[str],
) -> dict[str, object]:
    """The `quantization_config` of linear layers of one form, but for those that are `ignored`.

    `weights` and `inputs` describe weights and what is done to activations; None: nothing.
    """
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": inputs,
        "output_activations": None,
        "format": layout,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": list(ignored),
        "kv_cache_scheme": None,
    }


def pack(values: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Pack integers -2^(bits-1) .. 2^(bits-1)-1, shape (rows, columns); `bits` is 4 or 8.

    >>> [hex(word) for word in pack(np.array([[-8, 7, 0]], np.int32), 4)[0]]
    ['0x8f0']
    """
    rows, columns = values.shape
    each = 32 // bits
    filled = np.zeros((rows, -(-columns // each) * each), np.uint8)
    filled[:, :columns] = values + (1 << (bits - 1))
    if bits == 4:
        filled = filled[:, 0::2] | filled[:, 1::2] << 4
    return np.ascontiguousarray(filled).view("<i4").astype(np.int32, copy=False)


def unpack(words: NDArray[np.int32], bits: int, columns: int) -> NDArray[np.int32]:
    """Undo `pack`.

    >>> unpack(np.array([[0x8f0]], np.int32), 4, 3)
    array([[-8,  7,  0]], dtype=int32)
    """
    parts = np.ascontiguousarray(words.astype("<i4", copy=False)).view(np.uint8)
    if bits == 4:
        parts = np.stack([parts & 15, parts >> 4], axis=-1).reshape(len(words), -1)
    found: NDArray[np.int32] = parts[:, :columns].astype(np.int32) - (1 << (bits - 1))
    return found


def centred(found: Integers, bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Integers and zero points around zero: asymmetric ones begin at -2^(bits-1), not at 0."""
    if found.zeros is None:
        return found.values, None
    half = 1 << (bits - 1)
    return found.values - half, found.zeros - half
