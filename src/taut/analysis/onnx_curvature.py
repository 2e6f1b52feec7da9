"""The curvature of an ONNX model's weights, from runs forward alone.

onnxruntime gives no gradients. The inputs' side of a layer's metric, H = mean of x x^T, is summed
from the values that the graph hands to it. Of the outputs' side one number is found for each
weight: noise E is added to it, and what that does to the model's outputs, a squared distance or
of logits a divergence, is divided by tr(E H E^T), which is what H says of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.analysis._terms import Forms, added
from taut.analysis.curvature import Curvature
from taut.analysis.onnx_layers import OnnxLayer, OnnxUses, find_uses, weights_of
from taut.analysis.onnx_moments import (
    Moments,
    OnnxRunner,
    identity,
    sum_moments,
    takes_by_rows,
)
from taut.errors import ArgumentError
from taut.networks.onnx_inner import is_reachable, owners
from taut.networks.output_vectors import Distance, vectors
from taut.networks.outputs import find_target, is_float
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.networks.onnx_network import OnnxGraph

_NOISE: Final = 0.1  # of a weight's root mean square: about what rounding to 3 bits does
_PROBED: Final = 32  # samples that noise is tried on


def collect_onnx(
    network: OnnxRunner,
    batches: Sequence[object],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Curvature]:
    """The curvature of every matrix of a network, by its parameters' names.

    A weight that no batch reached, in a branch that was not taken, has none.

    Raises:
        ArgumentError: there are no batches, or values are NaN or infinite.
    """
    if not batches:
        raise ArgumentError("calibration: there are no samples; give at least one batch")
    graph = network.graph
    parameters, shapes = _weights(network)
    uses = find_uses(graph.proto.graph, shapes)
    used = _reachable(graph, uses)
    sums = sum_moments(network, batches, used, shapes, progress)
    probe = _Probe(network, batches, seed)
    found: dict[str, Curvature] = {}
    matrices = [weight for weight, shape in shapes.items() if len(shape) > 1]
    order = {weight: stage for stage, weight in enumerate(used)}
    for number, weight in enumerate(matrices, 1):
        stage = order.get(weight, len(order))
        curvature = _curvature(sums.get(weight, []), shapes[weight], probe.samples, stage)
        gain = probe.gain(parameters[weight], curvature)
        if gain > 0 or weight not in uses.inner:
            weighed = _weighed(curvature, gain, parameters)
            found[parameters[weight]] = replace(weighed, notes=_notes(graph, uses, weighed, weight))
        if progress:
            progress("weigh", number, len(matrices))
    return found


def _weights(network: OnnxRunner) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The parameter of each weight of the graph, by its name there, and its shape."""
    fed = network.graph.fed
    parameters = {fed[tensor]: parameter for parameter, tensor in network.names.items()}
    shapes = {w: tuple(network.get_parameter(p).shape) for w, p in parameters.items()}
    return parameters, shapes


def _reachable(graph: OnnxGraph, uses: OnnxUses) -> dict[str, list[OnnxLayer]]:
    """The layers of each weight whose inputs can be seen, in the graph's order."""
    return weights_of([one for one in uses.layers if is_reachable(graph.proto, one.inputs.scope)])


def _notes(graph: OnnxGraph, uses: OnnxUses, found: Curvature, weight: str) -> tuple[str, ...]:
    """By which operators a weight is taken of which the inputs were not seen."""
    if found.kind != "unknown":
        return ()
    if others := uses.others.get(weight):
        told = ", ".join(others)
        return (f"used by {told}, of which the inputs are not summed: weighed by trials alone",)
    around = [o for one in uses.layers if one.weight == weight
              for o in owners(graph.proto, one.inputs.scope)]  # fmt: skip
    if around:
        told = ", ".join(dict.fromkeys(around))
        return (f"used within {told}, where its inputs are not seen: weighed by trials alone",)
    return ()


def _curvature(sums: list[Moments], shape: tuple[int, ...], samples: int, stage: int) -> Curvature:
    """The inputs' side as it was summed; the outputs' side is the identity."""
    sums, metrics = _agreeing([one for one in sums if one.positions], shape)
    metric = reduce(added, metrics) if metrics else identity(shape)
    found = Curvature(
        rows=metric.rows,
        columns=metric.columns,
        mean_input=None,
        bias=None,
        positions=sum(one.positions for one in sums),
        samples=samples,
        kind="+".join(one.layer.kind for one in sums) or "unknown",
        stage=stage,
    )
    if len(sums) != 1 or sums[0].mean is None:
        return found
    (alone,) = sums
    bias, swapped = alone.layer.bias, takes_by_rows(alone.layer, shape)
    return replace(found, mean_input=alone.mean_input, bias=bias, swapped=swapped)


def _agreeing(sums: list[Moments], shape: tuple[int, ...]) -> tuple[list[Moments], list[Forms]]:
    """Sums with their metrics; none where some are of one matrix, and some of several."""
    metrics = [one.form(shape) for one in sums]
    return (sums, metrics) if len({len(one.rows) for one in metrics}) <= 1 else ([], [])


def _weighed(curvature: Curvature, gain: float, parameters: Mapping[str, str]) -> Curvature:
    """The curvature with the output's share in it, and its bias as the network names it."""
    bias = None if curvature.bias is None else parameters.get(curvature.bias)
    if not gain > 0:
        return replace(curvature, rows=curvature.rows * 0, bias=bias, kind="none")
    if curvature.rows.ndim > 1:
        return replace(curvature, columns=curvature.columns * gain, bias=bias)
    return replace(curvature, rows=curvature.rows * gain, bias=bias)


class _Probe:
    """Tries what noise in single weights does to the output."""

    def __init__(self, network: OnnxRunner, batches: Sequence[object], seed: int) -> None:
        self._network, self._seed = network, seed
        self._batches: list[object] = []
        self._originals: list[list[torch.Tensor]] = []
        self.samples = 0
        for batch in batches:
            if self.samples >= _PROBED:
                break
            self._batches.append(batch)
            self.samples += _samples(batch)
        self._others = self._named_others(self._batches)
        self._originals.extend(map(self._outputs, self._batches))
        self._distances = [
            Distance.beside(network.output_kind if number == 0 else "features", some)
            for number, some in enumerate(zip(*self._originals, strict=True))
        ]

    def gain(self, parameter: str, curvature: Curvature) -> float:
        """How far the output goes from the original's, over what the curvature expects."""
        import torch

        held = self._network.get_parameter(parameter)
        before = held.data
        generator = torch.Generator().manual_seed(self._seed)
        scale = _NOISE * float(before.double().square().mean().sqrt())
        noise = torch.randn(before.shape, generator=generator) * scale
        expected = quadratic(noise.numpy(), curvature)
        if not 0 < expected < math.inf:  # a weight may hold -inf, as a mask does
            return 0.0
        try:
            held.data = before + noise
            changes = [
                self._changes(*one) for one in zip(self._batches, self._originals, strict=True)
            ]
        finally:
            held.data = before
        return sum(map(sum, zip(*changes, strict=True))) / expected

    def _changes(self, batch: object, originals: list[torch.Tensor]) -> list[float]:
        """How far each output went, in the mean over its positions in all batches.

        The outputs beside the first count as much as it does, all together.
        """
        counts = [sum(map(len, some)) for some in zip(*self._originals, strict=True)]
        shares = [1.0, *(1 / len(self._others) for _ in self._others)]
        return [
            share * float(distance(changed, original)) / max(1, count)
            for share, distance, changed, original, count in zip(
                shares, self._distances, self._outputs(batch), originals, counts, strict=True
            )
        ]

    def _named_others(self, batches: Sequence[object]) -> list[str]:
        """The outputs beside the first that hold floats, all of them numbers, in every batch."""
        found: dict[str, bool] = {}
        for batch in batches:
            output, _ = self._network.answers(batch)
            kind = self._network.output_kind
            first = find_target(output, kind, lambda _: None).tensor
            for name, one in output.items() if isinstance(output, Mapping) else ():
                useful = one is not first and is_float(one) and one.numel() and one.isfinite().all()
                found[name] = found.get(name, True) and bool(useful)
        return [name for name, useful in found.items() if useful]

    def _outputs(self, batch: object) -> list[torch.Tensor]:
        """The vectors of the output that is told of, and those of the others."""
        output, _ = self._network.answers(batch)
        kind = self._network.output_kind
        found = vectors(output, batch, kind)
        forbidden = (found == -math.inf) & (kind == "logits")  # classes that cannot be
        if not (found.isfinite() | forbidden).all():
            raise ArgumentError("calibration: the model's output has NaN or infinite values")
        others = [output[name] for name in self._others] if isinstance(output, Mapping) else []
        return [found, *(vectors(one, batch, "features").nan_to_num() for one in others)]


def quadratic(error: np.ndarray, curvature: Curvature) -> float:
    """The loss that a curvature expects of an error, tr(R E C E^T).

    >>> one = Curvature(np.ones(1), np.diag([2.0, 3.0]), None, None, 1, 1, "linear", 0)
    >>> quadratic(np.array([[1.0, 2.0]]), one)
    14.0
    """
    columns, rows = curvature.columns, curvature.rows
    matrix = error.reshape(len(rows), -1).astype(np.float64)
    if columns.ndim == 3:
        parts = matrix.reshape(len(columns), -1, matrix.shape[1])
        right = np.einsum("gmn,gnk->gmk", parts, columns).reshape(matrix.shape)
    else:
        right = matrix * columns if columns.ndim == 1 else matrix @ columns
    left = rows[:, None] * matrix if rows.ndim == 1 else rows @ matrix
    return float(np.sum(left * right))


def _samples(batch: object) -> int:
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    first = parts[0] if isinstance(parts, tuple | list) and parts else parts
    shape = tuple(getattr(first, "shape", ()))
    return int(shape[0]) if len(shape) else 1
