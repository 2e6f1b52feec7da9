"""The two sides of a weight matrix's metric, one term for each way that the weight is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import Geometry, channels_last, patch_values, patches
from taut.analysis._gram import BLOCK, Counts, Gram, Room, Side
from taut.analysis._layer_calls import LayerCall

if TYPE_CHECKING:
    import torch

Pair: TypeAlias = "tuple[torch.Tensor | None, torch.Tensor]"  # inputs if wanted, gradients


@dataclass(frozen=True)
class Forms:
    """Rows' and columns' metric of a matrix as it is stored; None for nothing seen."""

    rows: NDArray[np.floating]
    columns: NDArray[np.floating]


@dataclass
class Layer:
    """Sums over the positions of a layer: of its inputs' moments, and of its gradients'."""

    kind: str
    swapped: bool
    inputs: Side
    gradients: Gram
    mean: NDArray[np.float64] | None
    biases: set[int] = field(default_factory=set)
    positions: int = 0

    @classmethod
    def of(cls, call: LayerCall, room: Room, widest: int) -> Layer:
        """An empty sum for weights of this call's shape and use."""
        first, rest = call.weight.shape[0], call.weight.numel() // max(1, call.weight.shape[0])
        groups = call.geometry.groups if call.geometry else 1
        columns = Gram(rest * groups, room, groups=groups, full=rest <= widest)
        if call.kind == "embedding":
            return cls("embedding", False, Counts(first, room), columns, None)
        rows = Gram(first, room, full=first <= widest)
        inputs, gradients = (rows, columns) if call.swapped else (columns, rows)
        mean = None if call.kind == "conv_transpose" else np.zeros(inputs.width)
        return cls(call.kind, call.swapped, inputs, gradients, mean)

    def add(
        self, call: LayerCall, x: torch.Tensor, g: torch.Tensor, *, first: bool, where: str
    ) -> None:
        """Add a use: its inputs (the first time only), and the gradient of its output.

        A position is live where the gradient is not all zero: padding is left out by itself.
        """
        import torch

        for vectors, slopes in _vectors(call, x, g, inputs=first):
            self.gradients.add(slopes, f"{where}: the gradient")
            if vectors is None:
                continue
            live = (slopes != 0).any(1)
            count = int(live.sum())
            vectors = vectors if count == len(live) else vectors[live]
            self.inputs.add(vectors, f"{where}: the input")
            self.positions += count
            if self.mean is not None:
                self.mean += vectors.sum(0, dtype=torch.float64).cpu().numpy()

    def finish(self, samples: int, passes: int) -> Forms:
        """Divide: the inputs' moments by positions, the gradients' by samples.

        An embedding is read by count: its counts are by sample, its gradients by position.
        """
        over_inputs, over_gradients = max(1, self.positions), samples * passes
        if self.kind == "embedding":
            over_inputs, over_gradients = samples, max(1, self.positions) * passes
        self.inputs.values /= over_inputs
        self.gradients.values /= over_gradients
        if self.mean is not None:
            self.mean /= max(1, self.positions)
        one, other = self.inputs.values, self.gradients.values
        return Forms(one, other) if self.swapped or self.kind == "embedding" else Forms(other, one)


@dataclass
class Whole:
    """Sums over the gradients of the whole matrix, for a weight used in a way we cannot follow."""

    rows: Gram
    columns: Gram

    @classmethod
    def of(cls, weight: torch.Tensor, room: Room, widest: int) -> Whole:
        """An empty sum for the weight."""
        m, n = weight.shape[0], weight.numel() // max(1, weight.shape[0])
        return cls(Gram(m, room, full=m <= widest), Gram(n, room, full=n <= widest))

    def add(self, gradient: torch.Tensor, where: str) -> None:
        """Add the gradient of one batch."""
        matrix = gradient.reshape(len(gradient), -1)
        self.columns.add(matrix, f"{where}: the gradient")
        self.rows.add(matrix.T, f"{where}: the gradient")

    def finish(self, samples: int, passes: int) -> Forms:
        """Both sides over sqrt(trace): tr R * tr C is then the trace of the diagonal Fisher.

        So Shampoo splits its preconditioner (Gupta, Koren and Singer 2018).
        """
        for side in (self.rows, self.columns):
            side.values /= samples * passes
            trace = _trace(side.values)
            side.values /= sqrt(trace) if trace > 0 else 1.0
        return Forms(self.rows.values, self.columns.values)


def added(one: Forms, other: Forms) -> Forms:
    """One product near the sum of two: columns of trace 1 first, weighed by the rows' traces.

    The trace of the sum is kept. A side is diagonal only where both are.
    """
    weights = [_trace(metric.columns) for metric in (one, other)]
    scaled = [
        (metric.rows * t, metric.columns / (t or 1))
        for metric, t in zip((one, other), weights, strict=True)
    ]
    (r1, c1), (r2, c2) = scaled
    t1, t2 = _trace(r1), _trace(r2)
    r1, r2 = _alike(r1, r2)
    c1, c2 = _alike(c1, c2)
    return Forms(r1 + r2, (t1 * c1 + t2 * c2) / ((t1 + t2) or 1.0))


def _alike(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Two sides that can be added: a diagonal becomes a matrix beside one."""
    if one.ndim == other.ndim:
        return one, other
    return (np.diag(one) if one.ndim == 1 else one), (np.diag(other) if other.ndim == 1 else other)


def _trace(metric: NDArray[np.floating]) -> float:
    """Trace; of a grouped metric the groups' mean, as each has its share of the rows."""
    if metric.ndim == 1:
        return float(metric.sum(dtype=np.float64))
    diagonal = np.diagonal(metric, axis1=-2, axis2=-1)
    return float(diagonal.sum(dtype=np.float64)) / (len(metric) if metric.ndim == 3 else 1)


def _vectors(call: LayerCall, x: torch.Tensor, g: torch.Tensor, *, inputs: bool) -> Iterator[Pair]:
    """Blocks of input vectors (N, inputs) with the gradients (N, outputs) at their positions."""
    if call.geometry is None:
        return _by_position(call, x, g, inputs=inputs)
    if x.ndim == len(call.geometry.kernel) + 1:
        x, g = x[None], g[None]
    if call.kind == "conv_transpose":
        return _by_spread(call.geometry, x, g, inputs=inputs)
    return _by_patch(call.geometry, x, g, inputs=inputs)


def _by_position(
    call: LayerCall, x: torch.Tensor, g: torch.Tensor, *, inputs: bool
) -> Iterator[Pair]:
    slopes = g.reshape(-1, g.shape[-1])
    flat = x.reshape(-1, x.shape[-1]) if call.kind != "embedding" else _numbers(call, x)
    many = max(1, BLOCK // max(1, slopes.shape[1], 1 if flat.ndim == 1 else flat.shape[1]))
    for begin in range(0, len(slopes), many):
        part = slice(begin, begin + many)
        yield (flat[part] if inputs else None), slopes[part]


def _by_patch(shape: Geometry, x: torch.Tensor, g: torch.Tensor, *, inputs: bool) -> Iterator[Pair]:
    many = max(1, BLOCK // patch_values(x, shape))
    for begin in range(0, len(x), many):
        some, slope = x[begin : begin + many], g[begin : begin + many]
        yield (_flat(patches(some, shape)) if inputs else None), _flat(channels_last(slope))


def _by_spread(
    shape: Geometry, x: torch.Tensor, g: torch.Tensor, *, inputs: bool
) -> Iterator[Pair]:
    """Of a transposed convolution: the patch of output gradients that an input spreads over."""
    many = max(1, BLOCK // patch_values(g, shape))
    # output_padding may leave room for windows that belong to no input.
    space = tuple(slice(0, size) for size in x.shape[2:])
    for begin in range(0, len(x), many):
        some, slope = x[begin : begin + many], g[begin : begin + many]
        windows = patches(slope, shape)[(slice(None), *space)]
        yield (_flat(channels_last(some)) if inputs else None), _flat(windows)


def _numbers(call: LayerCall, x: torch.Tensor) -> torch.Tensor:
    """Numbers of rows; those below zero count from the end."""
    return x.reshape(-1) % len(call.weight)


def _flat(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.reshape(-1, vectors.shape[-1])
