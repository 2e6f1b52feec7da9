"""GPTQ (Frantar et al., 2022, algorithm 1), written from the paper: columns in their order, each
one's rounding error fed forward to the columns not yet rounded.

W: weights (rows, columns); H: sum of x x^T over calibration inputs, dampened by 1 % of the mean
of its diagonal; U: upper Cholesky factor of H^-1 = U^T U. Blocks of 128 columns. Layers are
walked through by block of the model, each calibrated on what the rounded blocks before it give.

`turned` rounds W Q in the place of W, with Q orthogonal and random, as what works in rotated bases
does (QuaRot, Ashkboos et al. 2024; SpinQuant, Liu et al. 2024, learns Q): weights and inputs are
then near Gaussian and none stands out. Inputs would be multiplied by Q where the model runs; Q is
made from a seed and takes no bytes.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import cholesky, lapack  # type: ignore[import-untyped,unused-ignore]

from bench.data.tensors import Array
from bench.frontier.fixed import Grid, round_matrix
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, shelve, to_half
from bench.frontier.walk import Walk

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_BLOCK = 128
_DAMPING = 0.01


def peers() -> list[Peer]:
    """Return int4 and int3 in groups of 128; embeddings are rounded to nearest on the same grid.

    In a curve of its own embeddings are int8, a scale a row, as people have those of small language
    models; in another all is rounded in random bases.
    """
    made = []
    for curve, more in (("GPTQ", ""), ("GPTQ, int8 embedding", ", int8 embedding")):
        for bits in (4, 3):
            beside = Grid(8, 0, "middle") if more else None
            coding = partial(code, Grid(bits, 128), beside)
            made.append(Peer(f"GPTQ int{bits} g128{more}", curve, coding, calibrated=True))
    for bits in (4, 3):
        coding = partial(code, Grid(bits, 128), None, turned=True)
        made.append(Peer(f"GPTQ int{bits} g128, rotated", "GPTQ, rotated", coding, True))
    return made


def code(grid: Grid, beside: Grid | None, subject: Subject, *, turned: bool = False) -> Coded:
    """Quantise a whole model: GPTQ for its linear and convolutional layers, `beside` for others."""
    network = subject.module()
    layers = {f"{name}.weight" for block in subject.blocks() for name in block}
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}

    def keep(name: str, values: Array, parts: dict[str, Array]) -> None:
        decoded[name] = values.reshape(subject.weights[name].shape)
        stored.update({f"{name}.{key}" if key else name: part for key, part in parts.items()})
        with torch.no_grad():
            network.get_parameter(name).copy_(torch.from_numpy(decoded[name]))

    for name, values in subject.weights.items():
        if name not in layers and is_matrix(values):
            keep(name, *_nearest(as_matrix(values), beside or grid, turned=turned))
    walk = Walk(network, subject.calibration)
    for block in subject.blocks():
        second = walk.second_moments(block)
        for layer in block:
            name = f"{layer}.weight"
            matrix = as_matrix(subject.weights[name])
            keep(name, *_fed_forward(matrix, second[layer], grid, turned=turned))
    for name, values in subject.weights.items():
        if name not in decoded:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return shelve(decoded, stored)


def _nearest(weights: Array, grid: Grid, *, turned: bool) -> tuple[Array, dict[str, Array]]:
    if not turned:
        return round_matrix(weights, grid)
    Q = random_basis(weights.shape[1])
    values, parts = round_matrix((weights @ Q).astype(np.float32), grid)
    return (values @ Q.T).astype(np.float32), parts


def _fed_forward(
    weights: Array, second: Array, grid: Grid, *, turned: bool
) -> tuple[Array, dict[str, Array]]:
    if not turned:
        return quantize(weights, second, grid)
    Q = random_basis(weights.shape[1])
    values, parts = quantize(weights @ Q, Q.T @ second @ Q, grid)
    return (values @ Q.T).astype(np.float32), parts


@lru_cache(maxsize=4)
def random_basis(size: int) -> Array:
    """Return an orthogonal matrix, float64 (size, size), the same each time."""
    found: Array = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    return found


def quantize(weights: Array, second: Array, grid: Grid) -> tuple[Array, dict[str, Array]]:
    """Quantise one matrix (rows, columns) given H: the values that come back, and what is stored.

    A column whose input is always zero is set to zero, as the authors do.
    """
    W, H = weights.astype(np.float64), second.astype(np.float64)
    dead = np.diag(H) == 0
    W[:, dead], H[dead, dead] = 0, 1
    U = upper_factor(H)
    columns = W.shape[1]
    starts = grid.starts(columns)
    levels = np.empty(W.shape, np.uint8)
    scales, zeros = [], []
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        E = np.zeros((len(W), end - begin))
        for j in range(begin, end):
            if j in starts:  # the grid of a group is fitted to what earlier columns left of it
                scale, zero = grid.fit(W[:, j : j + (grid.group or columns)].astype(np.float32))
                scales.append(scale)
                zeros.append(zero)
            levels[:, j : j + 1] = grid.round(W[:, j : j + 1], scale, zero)
            error = W[:, j] - grid.values(levels[:, j : j + 1], scale, zero)[:, 0]
            E[:, j - begin] = error / U[j, j]
            W[:, j + 1 : end] -= np.outer(E[:, j - begin], U[j, j + 1 : end])
        W[:, end:] -= E @ U[begin:end, end:]
    S, Z = np.hstack(scales), np.hstack(zeros)
    group = np.searchsorted(starts, np.arange(columns), side="right") - 1
    return grid.values(levels, S[:, group], Z[:, group]), grid.store(levels, S, Z)


def upper_factor(H: Array) -> Array:
    """Return the upper Cholesky factor of the dampened H's inverse."""
    H = H + _DAMPING * np.diag(H).mean() * np.eye(len(H))
    inverse, failed = lapack.dpotri(cholesky(H, lower=True), lower=1)
    if failed:
        raise np.linalg.LinAlgError("H is not positive definite")
    factor: Array = cholesky(np.tril(inverse) + np.tril(inverse, -1).T, lower=False)
    return factor
