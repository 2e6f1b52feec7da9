"""The two sides of a weight matrix's metric, one term for each way that the weight is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.analysis._block import Block
from taut.analysis._gram import Counts, Gram, Room, Side

if TYPE_CHECKING:
    import torch

_NOISE: Final = 1e-6


@dataclass(frozen=True)
class Forms:
    """Rows' and columns' metric of a matrix as it is stored; None for nothing seen."""

    rows: NDArray[np.floating]
    columns: NDArray[np.floating]


@dataclass
class Layer:
    """Sums over what one matrix of a weight was given: its inputs' moments, and its gradients'.

    `own` are inputs of this matrix alone; `shared` are those that others were given, too.
    """

    kind: str
    swapped: bool
    block: Block
    gradients: Gram
    own: Side | None
    empty: Callable[[], Side]
    mean: NDArray[np.float64] | None
    shared: dict[int, SharedInputs] = field(default_factory=dict)
    biases: set[int] = field(default_factory=set)
    positions: int = 0

    @classmethod
    def of(
        cls, kind: str, swapped: bool, block: Block, shape: tuple[int, int],
        room: Room, widest: int, groups: int = 1,
    ) -> Layer:  # fmt: skip
        """An empty sum for a matrix of this shape and use; with groups for a convolution's."""
        first, rest = shape

        def columns() -> Gram:
            return Gram(rest * groups, room, groups=groups, full=rest <= widest)

        def rows() -> Gram:
            return Gram(first, room, full=first <= widest)

        if kind == "embedding":
            return cls(kind, False, block, columns(), None, lambda: Counts(first, room), None)
        inputs: Callable[[], Gram] = rows if swapped else columns
        gradients = columns() if swapped else rows()
        mean = None if kind == "conv_transpose" else np.zeros(first if swapped else rest * groups)
        return cls(kind, swapped, block, gradients, None, inputs, mean)

    def add(
        self, vectors: torch.Tensor | None, slopes: torch.Tensor, *,
        first: bool, routed: bool, where: str,
    ) -> None:  # fmt: skip
        """Add inputs (N, n), the first time only, and the gradients (N, m) of their outputs.

        Of a matrix among others that are `routed` to, a position is live only where the inputs are
        not all zero either: so some networks leave out what went to another expert.
        """
        live = live_positions(slopes)
        if routed and vectors is not None:
            live &= (vectors != 0).any(1)
            slopes = slopes[live]
            vectors, live = vectors[live], live[live]
        self.gradients.add(slopes, f"{where}: the gradient")
        if first and vectors is not None:
            self.add_inputs(vectors, live, where)

    def add_inputs(self, vectors: torch.Tensor, live: torch.Tensor, where: str) -> None:
        """Add inputs (N, n) at the positions (N,) that are live."""
        import torch

        count = int(live.sum())
        if not count:
            return
        vectors = vectors if count == len(live) else vectors[live]
        self.own = self.own or self.empty()
        self.own.add(vectors, f"{where}: the input")
        self.positions += count
        if self.mean is not None:
            self.mean += vectors.sum(0, dtype=torch.float64).cpu().numpy()

    def share(self, inputs: SharedInputs) -> None:
        """Take part in inputs that others were given, too."""
        self.shared[id(inputs)] = inputs

    @property
    def width(self) -> int:
        """Values of an input."""
        return len(self.mean) if self.mean is not None else 0

    @property
    def reached(self) -> bool:
        """Whether any position was live."""
        return bool(self.positions) or any(one.positions for one in self.shared.values())

    def finish(self, samples: int, passes: int) -> Forms:
        """Divide, once: the inputs' moments by positions, the gradients' by samples.

        An embedding is read by count: its counts are by sample, its gradients by position.
        """
        for inputs in self.shared.values():
            self.positions += inputs.positions
            if self.mean is not None:
                self.mean += inputs.mean
        over_inputs, over_gradients = max(1, self.positions), samples * passes
        if self.kind == "embedding":
            over_inputs, over_gradients = samples, max(1, self.positions) * passes
        moments, other = self._moments(over_inputs), self.gradients.values
        other /= over_gradients
        if self.mean is not None:
            self.mean /= max(1, self.positions)
        swapped = self.swapped or self.kind == "embedding"
        return Forms(moments, other) if swapped else Forms(other, moments)

    def _moments(self, over: int) -> NDArray[np.floating]:
        """The inputs' moments; one array for all matrices that were given the same."""
        if self.own is None and self.shared:
            first, *others = self.shared.values()
            return first.mean_moment(others)
        total = (self.own or self.empty()).values
        for inputs in self.shared.values():
            total += inputs.total
        total /= over
        return total


class SharedInputs:
    """Inputs that several matrices were given, summed once."""

    def __init__(self, side: Gram) -> None:
        self._side = side
        self.mean = np.zeros(side.width)
        self.positions = 0
        self._divided = False
        self._means: dict[tuple[int, ...], NDArray[np.floating]] = {}

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Add inputs (N, n) that all of the matrices were given."""
        import torch

        self._side.add(vectors, f"{where}: the input")
        self.positions += len(vectors)
        self.mean += vectors.sum(0, dtype=torch.float64).cpu().numpy()

    @property
    def total(self) -> NDArray[np.floating]:
        """The sum of x x^T."""
        values = self._side.values
        return values * max(1, self.positions) if self._divided else values

    def mean_moment(self, others: Sequence[SharedInputs]) -> NDArray[np.floating]:
        """The mean of x x^T over these inputs and others, the same array each time."""
        if not others:
            values = self._side.values
            if not self._divided:
                values /= max(1, self.positions)
                self._divided = True
            return values
        key = tuple(sorted(map(id, others)))
        if key not in self._means:
            count = self.positions + sum(one.positions for one in others)
            self._means[key] = sum((one.total for one in others), self.total) / max(1, count)
        return self._means[key]


def live_positions(slopes: torch.Tensor) -> torch.Tensor:
    """Where a gradient (N, m) is not zero, bool (N,): padding is left out by itself.

    What is a rounding error beside the largest is zero: a query that sees one key alone has a
    gradient that is zero or noise, as the order of the sums has it.
    """
    import torch

    if not slopes.numel():
        return torch.zeros(len(slopes), dtype=torch.bool, device=slopes.device)
    norms = torch.maximum(slopes.amax(1), -slopes.amin(1))  # no copy of the values, and quick
    live: torch.Tensor = norms > _NOISE * norms.max()
    return live


@dataclass
class Whole:
    """Sums over the gradients of the whole matrix, for a weight used in a way we cannot follow."""

    rows: Gram
    columns: Gram

    @classmethod
    def of(cls, height: int, count: int, room: Room, widest: int) -> Whole:
        """An empty sum for a weight of so many rows and, in all, real values."""
        m, n = height, count // max(1, height)
        return cls(Gram(m, room, full=m <= widest), Gram(n, room, full=n <= widest))

    def add(self, gradient: torch.Tensor, where: str) -> None:
        """Add the gradient of one batch."""
        import torch

        if gradient.is_complex():  # the gradients by real and imaginary parts, in turn
            gradient = torch.view_as_real(gradient.resolve_conj())
        matrix = gradient.reshape(self.rows.width, -1)
        self.columns.add(matrix, f"{where}: the gradient")
        self.rows.add(matrix.T, f"{where}: the gradient")

    def finish(self, samples: int, passes: int) -> Forms:
        """Both sides over sqrt(trace): tr R * tr C is then the trace of the diagonal Fisher.

        So Shampoo splits its preconditioner (Gupta, Koren and Singer 2018).
        """
        for values in (self.rows.values, self.columns.values):
            values /= samples * passes
            trace = trace_of(values)
            values /= sqrt(trace) if trace > 0 else 1.0
        return Forms(self.rows.values, self.columns.values)


def added(one: Forms, other: Forms) -> Forms:
    """One product near the sum of two: columns of trace 1 first, weighed by the rows' traces.

    The trace of the sum is kept. A side is diagonal only where both are.
    """
    weights = [trace_of(metric.columns) for metric in (one, other)]
    scaled = [
        (metric.rows * t, metric.columns / (t or 1))
        for metric, t in zip((one, other), weights, strict=True)
    ]
    (r1, c1), (r2, c2) = scaled
    t1, t2 = trace_of(r1), trace_of(r2)
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


def trace_of(metric: NDArray[np.floating]) -> float:
    """Trace; of a grouped metric the groups' mean, as each has its share of the rows."""
    if metric.ndim == 1:
        return float(metric.sum(dtype=np.float64))
    diagonal = np.diagonal(metric, axis1=-2, axis2=-1)
    return float(diagonal.sum(dtype=np.float64)) / (len(metric) if metric.ndim == 3 else 1)
