"""Entropy-coded GPTQ: what won the public challenge of spring 2026 for language models in 16 MB.

Matrices are 6-bit integers, embeddings 7-bit ones, both symmetric with a step a row: the row's
standard deviation times k, over the largest level. k of 10 to 15 clips nothing to speak of: the
step, not the width, sets the entropy. Errors are fed forward as in GPTQ. The three tensors that
lose most get a correction of rank 4. Rows are sorted by likeness where that helps, bytes of
two-byte types are shuffled, and the whole is packed by ZPAQ (`lrzip -z`) or brotli at its highest
level, whichever is smaller. k gives the curve.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.data.tensors import Array
from bench.frontier.gptq import quantize
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix, to_half
from bench.frontier.walk import Walk

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_CLIPS = (10.0, 13.0, 20.0, 30.0)
_CORRECTED, _RANK = 3, 4
_DAMPING = 0.01


@dataclass(frozen=True)
class DeviationGrid:
    """Levels -top..top, stored above zero; the step of a row is its deviation times clip / top."""

    top: int
    clip: float
    group: int = 0

    def fit(self, part: Array) -> tuple[Array, Array]:
        """Return steps, float32 (rows, 1) as stored, and the level that stands for zero."""
        step = to_half(part.std(axis=1, keepdims=True) * (self.clip / self.top)).astype(np.float32)
        step[step == 0] = 1
        return step, np.full_like(step, self.top)

    def round(self, part: Array, scale: Array, zero: Array) -> Array:
        """Return the nearest levels, uint8."""
        return np.clip(np.rint(part / scale) + zero, 0, 2 * self.top).astype(np.uint8)

    def values(self, levels: Array, scale: Array, zero: Array) -> Array:
        """Return float32 values of levels."""
        found: Array = ((levels - zero) * scale).astype(np.float32)
        return found

    def starts(self, columns: int) -> list[int]:
        """One group: the whole row."""
        return [0]

    def store(self, levels: Array, scales: Array, zeros: Array) -> dict[str, Array]:
        """Return a byte a level, and float16 steps."""
        return {"levels": levels, "scales": to_half(scales)}


def peers() -> list[Peer]:
    """Return the points of the curve; ImportError without lrzip and brotli."""
    importlib.import_module("brotli")
    if shutil.which("lrzip") is None:
        raise ImportError("lrzip: not installed (entropy-coded GPTQ needs it)")
    return [
        Peer(f"GPTQ int6, k {clip:g}, ZPAQ", "GPTQ + ZPAQ", partial(code, clip), calibrated=True)
        for clip in _CLIPS
    ]


def code(clip: float, subject: Subject) -> Coded:
    """Quantise and pack a whole model."""
    network = subject.module()
    layers = {f"{name}.weight" for block in subject.blocks() for name in block}
    decoded: dict[str, Array] = {}
    stored: dict[str, Array] = {}
    lost: dict[str, tuple[float, Array, Array]] = {}  # the worst: how much, A and B of rank 4

    def keep(name: str, values: Array, parts: Mapping[str, Array]) -> None:
        decoded[name] = values.reshape(subject.weights[name].shape)
        stored.update({f"{name}.{key}": part for key, part in parts.items()})
        with torch.no_grad():
            network.get_parameter(name).copy_(torch.from_numpy(decoded[name]))

    for name, values in subject.weights.items():
        if name not in layers and is_matrix(values):
            keep(name, *_rounded(as_matrix(values), DeviationGrid(63, clip)))
    walk = Walk(network, subject.calibration)
    for block in subject.blocks():
        second = walk.second_moments(block)
        for layer in block:
            name, H = f"{layer}.weight", second[layer]
            W = as_matrix(subject.weights[name])
            values, parts = quantize(W, H, DeviationGrid(31, clip))
            keep(name, values, parts)
            lost[name] = correction(W - values, H)
            if len(lost) > _CORRECTED:
                del lost[min(lost, key=lambda one: lost[one][0])]
    for name, (_, A, B) in lost.items():
        stored |= {f"{name}.A": A, f"{name}.B": B}
        added = A.astype(np.float32) @ B.astype(np.float32)
        decoded[name] = decoded[name] + added.reshape(decoded[name].shape)
    for name, values in subject.weights.items():
        if name not in decoded:
            stored[name] = to_half(values)
            decoded[name] = stored[name].astype(np.float32)
    return Coded(decoded, packed(stored))


def correction(E: Array, H: Array) -> tuple[float, Array, Array]:
    """Return tr(E H E^T), and float16 A B of rank 4 that takes most of it away.

    With H = L L^T, A B L is the best approximation of E L of that rank.
    """
    H = H + (_DAMPING * np.diag(H).mean() + 1e-12) * np.eye(len(H))
    L = np.linalg.cholesky(H)
    U, S, V = np.linalg.svd(E.astype(np.float64) @ L, full_matrices=False)
    root = np.sqrt(S[:_RANK])
    B = np.linalg.solve(L.T, (V[:_RANK] * root[:, None]).T).T
    return float(np.square(S).sum()), to_half(U[:, :_RANK] * root), to_half(B)


def packed(stored: Mapping[str, Array]) -> int:
    """Return the bytes of the smallest of four archives: rows sorted or not, ZPAQ or brotli."""
    return min(size for sort in (False, True) for size in _archives(_laid_out(stored, sort=sort)))


def _rounded(weights: Array, grid: DeviationGrid) -> tuple[Array, dict[str, Array]]:
    scale, zero = grid.fit(weights)
    levels = grid.round(weights, scale, zero)
    return grid.values(levels, scale, zero), grid.store(levels, scale, zero)


def _laid_out(stored: Mapping[str, Array], *, sort: bool) -> bytes:
    """All arrays, names and shapes first; sorted rows have their places as uint32 beside them."""
    parts = ["\n".join(f"{name} {value.shape}" for name, value in stored.items()).encode()]
    for name, value in stored.items():
        if sort and name.endswith(".levels"):
            order = _likeness(value)
            parts += [_shuffled(order.astype(np.uint32)), value[order].tobytes()]
        else:
            parts.append(_shuffled(value))
    return b"".join(parts)


def _likeness(levels: Array) -> Array:
    """An order of rows in which neighbours are alike: along their first principal direction."""
    rows = levels.astype(np.float32) - levels.mean(axis=0, dtype=np.float32)
    direction = np.random.default_rng(0).standard_normal(rows.shape[1]).astype(np.float32)
    for _ in range(8):
        direction = rows.T @ (rows @ direction)
        direction /= max(float(np.linalg.norm(direction)), 1e-30)
    found: Array = np.argsort(rows @ direction, kind="stable")
    return found


def _shuffled(values: Array) -> bytes:
    """First bytes of all values, then second ones, and so on."""
    data = np.ascontiguousarray(values)
    return data.reshape(-1).view(np.uint8).reshape(-1, data.dtype.itemsize).T.tobytes()


def _archives(data: bytes) -> Iterator[int]:
    brotli = importlib.import_module("brotli")
    yield len(brotli.compress(data, quality=11, lgwin=24))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(data)
        command = ["lrzip", "-z", "-q", "-p", "1", "-o", f"{path}.lrz", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield Path(f"{path}.lrz").stat().st_size
