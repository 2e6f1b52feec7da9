"""The curvature of an ONNX model's weights, from runs forward alone.

onnxruntime gives no gradients. The inputs' side of a layer's metric, H = mean of x x^T, is summed
from the values that the graph hands to it. Of the outputs' side one number is found for each
weight: noise E is added to it, and what that does to the model's outputs, a squared distance or
of logits a divergence, is divided by tr(E H E^T), which is what H says of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Final, cast

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
from taut.networks.other_outputs import OutputCost
from taut.networks.output_roles import output_roles
from taut.networks.output_vectors import Distance, Kind, vectors_of
from taut.networks.outputs import float_parts
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
    kinds: Mapping[str, Kind] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Curvature]:
    """The curvature of every matrix of a network, by its parameters' names.

    `kinds` are what the outputs that count hold, by their places, and `shares` what they count;
    without them all count alike, told by their values. A weight that no batch reached, in a branch
    that was not taken, has none.

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
    if kinds is None:
        module = cast("torch.nn.Module", network)
        kinds = {place: one.kind for place, one in output_roles(module, batches).items()}
    probe = _Probe(network, batches, seed, kinds, shares or {})
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
    """Tries what noise in single weights does to the outputs that count."""

    def __init__(
        self,
        network: OnnxRunner,
        batches: Sequence[object],
        seed: int,
        kinds: Mapping[str, Kind],
        shares: Mapping[str, float],
    ) -> None:
        self._network, self._seed, self._kinds = network, seed, kinds
        self._shares = [shares.get(place, 1.0) for place in kinds]
        self._batches: list[object] = []
        self._originals: list[list[torch.Tensor]] = []
        self.samples = 0
        for batch in batches:
            if self.samples >= _PROBED:
                break
            self._batches.append(batch)
            self.samples += _samples(batch)
        self._originals.extend(map(self._outputs, self._batches))
        by_output = zip(*self._originals, strict=True)
        self._distances = [
            _relative(kind, some) if len(kinds) > 1 else Distance.beside(kind, some)
            for kind, some in zip(kinds.values(), by_output, strict=True)
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
        """How far each output went, in the mean over its positions in all batches."""
        counts = [sum(map(len, some)) for some in zip(*self._originals, strict=True)]
        return [
            share * float(distance(changed, original)) / max(1, count)
            for share, distance, changed, original, count in zip(
                self._shares, self._distances, self._outputs(batch), originals, counts, strict=True
            )
        ]

    def _outputs(self, batch: object) -> list[torch.Tensor]:
        """The vectors of each output; numbers alone in those beside the main one."""
        import torch

        output, _ = self._network.answers(batch)
        parts: dict[str, torch.Tensor] = float_parts(output)
        found = [
            vectors_of(parts.get(place, torch.zeros(0, 1)), batch, kind)
            for place, kind in self._kinds.items()
        ]
        main, *others = found
        kind = next(iter(self._kinds.values()))
        forbidden = (main == -math.inf) & (kind != "features")  # classes that cannot be
        if not (main.isfinite() | forbidden).all():
            raise ArgumentError("calibration: the model's output has NaN or infinite values")
        return [main, *(one.nan_to_num() for one in others)]


def _relative(kind: Kind, originals: Iterable[torch.Tensor]) -> Distance:
    """The distance from an output in units of what it costs to lose it."""
    cost = OutputCost(kind)
    for one in originals:
        cost.add(one)
    return cost.distance


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
