"""AWQ (Lin et al., 2023), written from the paper: columns that large inputs meet are scaled up
before rounding to nearest, and ranges are clipped where that loses less.

Layers that read the same inputs share a scale a column, s = m^a with m the mean magnitude of the
column's inputs. a is the one of twenty from 0 to .95 at which the layers' outputs lose least; then
each group of a row is clipped to one of ten shares of its range, from 1 to .55. Inputs are the
original's, as the authors take them. They weigh the outputs of a whole attention or block, here
each layer's own count, tr(E H E^T) with H = sum x x^T. Scales are folded into what comes before a
layer: they take no bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from bench.data.tensors import Array
from bench.frontier.fixed import Grid, round_matrix
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, shelve, to_half
from bench.frontier.walk import Walk

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_POWERS = tuple(i / 20 for i in range(20))
_SHARES = tuple(1 - i / 20 for i in range(10))
_LEAST = 1e-4


class Inputs(NamedTuple):
    """What enters a layer: H, float64 (columns, columns), and mean magnitudes, (columns,)."""

    second: Array
    sizes: Array


def peers() -> list[Peer]:
    """Return int4 and int3 in groups of 128; embeddings are rounded to nearest on the same grid."""
    return [
        Peer(f"AWQ int{bits} g128", "AWQ", partial(code, Grid(bits, 128)), calibrated=True)
        for bits in (4, 3)
    ]


def code(grid: Grid, subject: Subject) -> Coded:
    """Quantise a whole model: AWQ for its linear and convolutional layers."""
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}

    def keep(name: str, values: Array, parts: dict[str, Array]) -> None:
        decoded[name] = values.reshape(subject.weights[name].shape)
        stored.update({f"{name}.{key}": part for key, part in parts.items()})

    walk = Walk(subject.module(), subject.calibration)
    for block in subject.blocks():
        sums = walk.sums(block, _moments)
        for layers in _same_inputs(sums):
            names = [f"{layer}.weight" for layer in layers]
            weights = [as_matrix(subject.weights[name]) for name in names]
            found = quantize(weights, _inputs(sums[layers[0]]), grid)
            for name, (values, parts) in zip(names, found, strict=True):
                keep(name, values, parts)
    for name, values in subject.weights.items():
        if name not in decoded and is_matrix(values):
            keep(name, *round_matrix(as_matrix(values), grid))
    for name, values in subject.weights.items():
        if name not in decoded:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return shelve(decoded, stored)


def quantize(
    weights: list[Array], inputs: Inputs, grid: Grid
) -> list[tuple[Array, dict[str, Array]]]:
    """Quantise matrices (rows, columns) of one input: each one's values, and what is stored."""
    losses = {}
    for power in _POWERS:
        scales = _scales(inputs.sizes, power)
        rounded = (round_matrix(W * scales, grid)[0] / scales for W in weights)
        losses[power] = sum(
            _loss(W - values, inputs.second) for W, values in zip(weights, rounded, strict=True)
        )
    scales = _scales(inputs.sizes, min(losses, key=lambda power: losses[power]))
    second = inputs.second / np.outer(scales, scales)
    clipped = (clipped_and_rounded(W * scales, second, grid) for W in weights)
    return [((values / scales).astype(np.float32), parts) for values, parts in clipped]


def clipped_and_rounded(
    weights: Array, second: Array, grid: Grid
) -> tuple[Array, dict[str, Array]]:
    """Round float32 (rows, columns), each group of a row within the share of its range that loses
    least: the values that come back, and what is stored.
    """
    levels, values = np.empty(weights.shape, np.uint8), np.empty(weights.shape, np.float32)
    scales, zeros = [], []
    for start in grid.starts(weights.shape[1]):
        columns = slice(start, start + (grid.group or weights.shape[1]))
        part, H = weights[:, columns], second[columns, columns]
        largest = np.abs(part).max(axis=1, keepdims=True)
        best = np.full((len(part), 1), np.inf)
        scale, zero = grid.fit(part)
        for share in _SHARES:
            tried, middle = grid.fit(np.clip(part, -share * largest, share * largest))
            error = part - grid.values(grid.round(part, tried, middle), tried, middle)
            loss = ((error @ H) * error).sum(axis=1, keepdims=True)
            less = loss < best
            best = np.where(less, loss, best)
            scale, zero = np.where(less, tried, scale), np.where(less, middle, zero)
        levels[:, columns] = grid.round(part, scale, zero)
        values[:, columns] = grid.values(levels[:, columns], scale, zero)
        scales.append(scale)
        zeros.append(zero)
    return values, grid.store(levels, np.hstack(scales), np.hstack(zeros))


def _scales(sizes: Array, power: float) -> Array:
    """Scales of columns, float32, whose smallest and largest are each other's inverse."""
    scales = np.maximum(sizes**power, _LEAST)
    found: Array = (scales / np.sqrt(scales.max() * scales.min())).astype(np.float32)
    return found


def _loss(error: Array, second: Array) -> float:
    return float(((error @ second) * error).sum())


def _moments(x: torch.Tensor) -> Array:
    """x^T x, and below it sums of magnitudes and how many, float64 (columns + 2, columns)."""
    sizes = x.abs().sum(0, keepdim=True)
    found: Array = torch.cat([x.T @ x, sizes, torch.full_like(sizes, len(x))]).double().numpy()
    return found


def _inputs(sums: Array) -> Inputs:
    return Inputs(sums[:-2], sums[-2] / sums[-1])


def _same_inputs(sums: dict[str, Array]) -> list[list[str]]:
    """Layers by what enters them: those of one place, such as queries, keys and values."""
    groups: list[list[str]] = []
    for name, found in sums.items():
        alike = (g for g in groups if np.array_equal(sums[g[0]], found))
        group = next(alike, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return groups
