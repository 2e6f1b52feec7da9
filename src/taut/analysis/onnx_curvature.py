"""The curvature of an ONNX model's weights, from runs forward alone.

onnxruntime gives no gradients. The inputs' side of a layer's metric, H = mean of x x^T, is summed
from the values that the graph hands to it. Of the outputs' side one number is found for each
weight: noise E is added to it, and what that does to the model's output, a squared distance or
of logits a divergence, is divided by tr(E H E^T), which is what H says of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import patch_values, patches
from taut.analysis._gram import BLOCK, Counts, Gram, Room
from taut.analysis._terms import Forms, added
from taut.analysis.curvature import MEMORY, Curvature
from taut.analysis.onnx_layers import OnnxLayer, find_layers, weights_of
from taut.errors import ArgumentError
from taut.networks.output_vectors import Distance, Kind, vectors
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.networks.onnx_network import OnnxGraph

_WIDEST: Final = 8192  # wider sides are diagonal
_NOISE: Final = 0.1  # of a weight's root mean square: about what rounding to 3 bits does
_PROBED: Final = 32  # samples that noise is tried on


class OnnxRunner(Protocol):
    """What `taut.networks.onnx_network.open_network` gives."""

    graph: OnnxGraph
    names: dict[str, str]
    output_kind: Kind

    def answers(
        self, batch: object, more: Sequence[str] = ()
    ) -> tuple[object, dict[str, np.ndarray]]:
        """The output, and inner values by name."""
        ...

    def get_parameter(self, target: str) -> torch.nn.Parameter:
        """A parameter by its name."""
        ...


@dataclass
class _Sum:
    """The inputs' moments of a weight in one kind of use."""

    layer: OnnxLayer
    side: Gram | Counts
    mean: NDArray[np.float64] | None
    positions: int = 0

    def add(self, value: torch.Tensor, mask: torch.Tensor | None, where: str) -> None:
        """Add the inputs of one batch; padding is left out where a mask tells it."""
        if mask is not None and value.shape[:2] == mask.shape and not self.layer.turned:
            value = value[mask]
        if self.layer.kind == "embedding":
            rows = value.reshape(-1).long() % len(self.side.values)
            self.side.add(rows, where)
            self.positions += len(rows)
            return
        for block in _blocks(value, self.layer):
            self.side.add(block, where)
            self.positions += len(block)
            if self.mean is not None:
                self.mean += block.double().sum(0).numpy()

    def form(self) -> NDArray[np.floating]:
        """The mean moments."""
        return self.side.values / max(1, self.positions)


def collect_onnx(
    network: OnnxRunner,
    batches: Sequence[object],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Curvature]:
    """The curvature of every matrix of a network, by its parameters' names.

    Raises:
        ArgumentError: there are no batches, or values are NaN or infinite.
    """
    if not batches:
        raise ArgumentError("calibration: there are no samples; give at least one batch")
    parameters = {tensor: parameter for parameter, tensor in network.names.items()}
    shapes = {t: tuple(network.get_parameter(p).shape) for t, p in parameters.items()}
    used = weights_of(find_layers(network.graph.proto.graph, shapes))
    sums = _summed(network, batches, used, shapes, progress)
    probe = _Probe(network, batches, seed)
    found: dict[str, Curvature] = {}
    matrices = [tensor for tensor, shape in shapes.items() if len(shape) > 1]
    order = {weight: stage for stage, weight in enumerate(used)}
    for number, tensor in enumerate(matrices, 1):
        stage = order.get(tensor, len(order))
        curvature = _curvature(sums.get(tensor, []), shapes[tensor], probe.samples, stage)
        gain = probe.gain(parameters[tensor], curvature)
        found[parameters[tensor]] = _weighed(curvature, gain, parameters)
        if progress:
            progress("weigh", number, len(matrices))
    return found


def _summed(
    network: OnnxRunner,
    batches: Sequence[object],
    used: Mapping[str, list[OnnxLayer]],
    shapes: Mapping[str, tuple[int, ...]],
    progress: Progress | None,
) -> dict[str, list[_Sum]]:
    """One pass over the data: each weight's moments, one sum for each kind of use."""
    import torch

    room = Room(MEMORY)
    sums: dict[str, dict[tuple[str, bool], _Sum]] = {weight: {} for weight in used}
    for weight, layers in used.items():
        for layer in layers:
            key = layer.kind, layer.swapped
            if key not in sums[weight]:
                sums[weight][key] = _empty(layer, shapes[weight], room)
    wanted = sorted({layer.inputs for layers in used.values() for layer in layers})
    inner = [name for name in wanted if name not in network.graph.inputs]
    for number, batch in enumerate(batches, 1):
        _, values = network.answers(batch, inner)
        mask = _mask(batch)
        for weight, layers in used.items():
            for layer in layers:
                value = torch.from_numpy(np.array(values[layer.inputs]))
                where = f"{weight}, batch {number}"
                sums[weight][layer.kind, layer.swapped].add(value, mask, where)
        if progress:
            progress("curvature", number, len(batches))
    return {weight: list(found.values()) for weight, found in sums.items()}


def _empty(layer: OnnxLayer, shape: tuple[int, ...], room: Room) -> _Sum:
    if layer.kind == "embedding":
        return _Sum(layer, Counts(shape[0], room), None)
    groups = layer.geometry.groups if layer.geometry else 1
    width = shape[0] if layer.swapped else int(np.prod(shape[1:]))
    side = Gram(width * groups, room, groups=groups, full=width <= _WIDEST)
    return _Sum(layer, side, np.zeros(width * groups))


def _blocks(value: torch.Tensor, layer: OnnxLayer) -> list[torch.Tensor]:
    """The vectors that the weight meets, (N, width), in blocks that fit in memory."""
    if layer.geometry is None:
        value = value.transpose(-1, -2) if layer.turned else value
        return [value.reshape(-1, value.shape[-1]).float()]
    many, found = max(1, BLOCK // patch_values(value, layer.geometry)), []
    for begin in range(0, len(value), many):
        windows = patches(value[begin : begin + many].float(), layer.geometry)
        found.append(windows.reshape(-1, windows.shape[-1]))
    return found


def _curvature(sums: list[_Sum], shape: tuple[int, ...], samples: int, stage: int) -> Curvature:
    """The inputs' side as it was summed; the outputs' side is the identity."""
    rows, columns = np.ones(shape[0]), np.ones(int(np.prod(shape[1:])))
    kinds = "+".join(one.layer.kind for one in sums) or "unknown"
    metrics = []
    for one in sums:
        form = one.form()
        first = one.layer.swapped or one.layer.kind == "embedding"
        metrics.append(Forms(form, columns) if first else Forms(rows, form))
    metric = metrics[0] if metrics else Forms(rows, columns)
    for other in metrics[1:]:
        metric = added(metric, other)
    alone = sums[0] if len(sums) == 1 and sums[0].mean is not None else None
    mean = None if alone is None or alone.mean is None else alone.mean / max(1, alone.positions)
    return Curvature(
        metric.rows,
        metric.columns,
        mean,
        None if alone is None else alone.layer.bias,
        sum(one.positions for one in sums),
        samples,
        kinds,
        stage,
        swapped=alone is not None and alone.layer.swapped,
    )


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
        self._originals: list[torch.Tensor] = []
        self.samples = 0
        for batch in batches:
            if self.samples >= _PROBED:
                break
            original = self._output(batch)
            self._batches.append(batch)
            self._originals.append(original)
            self.samples += _samples(batch)
        self._distance = Distance.beside(network.output_kind, self._originals)

    def gain(self, parameter: str, curvature: Curvature) -> float:
        """How far the output goes from the original's, over what the curvature expects."""
        import torch

        held = self._network.get_parameter(parameter)
        before = held.data
        generator = torch.Generator().manual_seed(self._seed)
        scale = _NOISE * float(before.double().square().mean().sqrt())
        noise = torch.randn(before.shape, generator=generator) * scale
        expected = quadratic(noise.numpy(), curvature)
        if not expected > 0:
            return 0.0
        try:
            held.data = before + noise
            change = sum(
                float(self._distance(self._output(batch), original))
                for batch, original in zip(self._batches, self._originals, strict=True)
            )
        finally:
            held.data = before
        return change / max(1, sum(map(len, self._originals))) / expected

    def _output(self, batch: object) -> torch.Tensor:
        output, _ = self._network.answers(batch)
        found = vectors(output, batch, self._network.output_kind)
        if not found.isfinite().all():
            raise ArgumentError("calibration: the model's output has NaN or infinite values")
        return found


def quadratic(error: np.ndarray, curvature: Curvature) -> float:
    """The loss that a curvature expects of an error, tr(R E C E^T).

    >>> one = Curvature(np.ones(1), np.diag([2.0, 3.0]), None, None, 1, 1, "linear", 0)
    >>> quadratic(np.array([[1.0, 2.0]]), one)
    14.0
    """
    matrix = error.reshape(len(error), -1).astype(np.float64)
    columns, rows = curvature.columns, curvature.rows
    if columns.ndim == 3:
        parts = matrix.reshape(len(columns), -1, matrix.shape[1])
        right = np.einsum("gmn,gnk->gmk", parts, columns).reshape(matrix.shape)
    else:
        right = matrix * columns if columns.ndim == 1 else matrix @ columns
    left = rows[:, None] * matrix if rows.ndim == 1 else rows @ matrix
    return float(np.sum(left * right))


def _mask(batch: object) -> torch.Tensor | None:
    """The positions that are no padding."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None:
        return None
    found = torch.as_tensor(mask)
    return found != 0 if found.ndim == 2 else None


def _samples(batch: object) -> int:
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    first = parts[0] if isinstance(parts, tuple | list) and parts else parts
    shape = tuple(getattr(first, "shape", ()))
    return int(shape[0]) if len(shape) else 1
