"""Integer grids as runtimes execute them: round to nearest, int8 to int3, with honest packing.

A grid has 2^bits levels for each group of columns of a row: value = (level - zero) * scale.
The last group of a row is shorter where the columns do not divide.

    zero       scale                    zero point                 bits a weight, int4 g128
    "middle"   float16, max |w| / 7     2^(bits - 1), not stored   4.125
    "packed"   float16, range / 15      integer of `bits` bits     4.156
    "half"     float16, range / 15      the low end, float16       4.25
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.data.tensors import Array
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, shelve, to_half

if TYPE_CHECKING:
    from bench.subjects.subject import Subject


@dataclass(frozen=True)
class Grid:
    """A grid of `bits` bits for groups of `group` columns; 0: the whole row is one group."""

    bits: int
    group: int
    zero: Literal["middle", "packed", "half"] = "packed"

    @property
    def top(self) -> int:
        """The highest level; the lowest is 0."""
        return (1 << self.bits) - 1

    def fit(self, part: Array) -> tuple[Array, Array]:
        """Return scale and zero point, float32 (rows, 1) as stored, for one group's columns."""
        low = part.min(axis=1, keepdims=True)
        high = part.max(axis=1, keepdims=True)
        if self.zero == "middle":
            scale = _half(np.maximum(-low, high) / (self.top // 2))
            return scale, np.full_like(scale, (self.top + 1) // 2)
        if self.zero == "packed":  # zero must be a level
            low, high = np.minimum(low, 0), np.maximum(high, 0)
            scale = _half((high - low) / self.top)
            return scale, np.clip(np.rint(-low / scale), 0, self.top)
        scale = _half((high - low) / self.top)
        return scale, -low.astype(np.float16).astype(np.float32) / scale

    def round(self, part: Array, scale: Array, zero: Array) -> Array:
        """Return the nearest levels, uint8, of columns of one group."""
        return np.clip(np.rint(part / scale + zero), 0, self.top).astype(np.uint8)

    def values(self, levels: Array, scale: Array, zero: Array) -> Array:
        """Return float32 values of levels."""
        found: Array = ((levels - zero) * scale).astype(np.float32)
        return found

    def starts(self, columns: int) -> list[int]:
        """Return the first column of every group."""
        return list(range(0, columns, self.group or columns))

    def store(self, levels: Array, scales: Array, zeros: Array) -> dict[str, Array]:
        """Return what is on disk for levels (rows, columns), scales and zeros (rows, groups)."""
        stored = {"levels": pack(levels, self.bits), "scales": to_half(scales)}
        if self.zero == "packed":
            stored["zeros"] = pack(zeros.astype(np.uint8), self.bits)
        elif self.zero == "half":
            stored["zeros"] = to_half(-zeros * scales)
        return stored


def round_matrix(weights: Array, grid: Grid) -> tuple[Array, dict[str, Array]]:
    """Round float32 (rows, columns) to nearest: the values that come back, and what is stored."""
    levels = np.empty(weights.shape, np.uint8)
    values = np.empty(weights.shape, np.float32)
    scales, zeros = [], []
    for start in grid.starts(weights.shape[1]):
        part = np.s_[:, start : start + (grid.group or weights.shape[1])]
        scale, zero = grid.fit(weights[part])
        levels[part] = grid.round(weights[part], scale, zero)
        values[part] = grid.values(levels[part], scale, zero)
        scales.append(scale)
        zeros.append(zero)
    return values, grid.store(levels, np.hstack(scales), np.hstack(zeros))


def round_model(grid: Grid, subject: Subject) -> Coded:
    """Round every matrix, embedding and kernel of a model to nearest; the rest is float16."""
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}
    for name, values in subject.weights.items():
        if is_matrix(values):
            rounded, parts = round_matrix(as_matrix(values), grid)
            decoded[name] = rounded.reshape(values.shape)
            stored |= {f"{name}.{key}": part for key, part in parts.items()}
        else:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return shelve(decoded, stored)


def peers() -> list[Peer]:
    """Return the grids of the tables."""
    grids = {
        "int8, a scale a row": Grid(8, 0, "middle"),
        "int4, a scale a row": Grid(4, 0, "middle"),
        "int4 g128, symmetric": Grid(4, 128, "middle"),
        "int4 g128": Grid(4, 128),
        "int4 g32": Grid(4, 32),
        "int4 g128, fp16 zeros": Grid(4, 128, "half"),
        "int4 g32, fp16 zeros": Grid(4, 32, "half"),
    }
    return [Peer(f"RTN {n}", "round to nearest", partial(round_model, g)) for n, g in grids.items()]


def pack(levels: Array, bits: int) -> Array:
    """Pack uint8 levels below 2^bits into bytes, most significant bit first."""
    if bits == 8:
        return levels.reshape(-1)
    return np.packbits(np.unpackbits(levels.reshape(-1, 1), axis=1)[:, 8 - bits :])


def _half(scale: Array) -> Array:
    """Round a scale to float16; an empty or tiny range gets a scale that divides."""
    rounded: Array = scale.astype(np.float16).astype(np.float32)
    rounded[rounded == 0] = 1
    return rounded
