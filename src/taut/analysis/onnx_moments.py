"""The inputs' moments of an ONNX model's weights, from one pass over the data.

Of a layer y = W x they are H = mean of x x^T, summed from the values that the graph hands to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import Geometry, channels_last, patch_values, patches
from taut.analysis._gram import BLOCK, Counts, Gram, Room
from taut.analysis._terms import Forms
from taut.analysis.curvature import MEMORY
from taut.analysis.onnx_layers import OnnxLayer
from taut.errors import ArgumentError
from taut.networks.onnx_inner import InnerValue, is_stacked
from taut.networks.output_vectors import Kind
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.networks.onnx_network import OnnxGraph

Used = Mapping[str, list[OnnxLayer]]  # the layers that use a weight

_WIDEST: Final = 8192  # wider sides are diagonal


class OnnxRunner(Protocol):
    """What `taut.networks.onnx_network.open_network` gives."""

    graph: OnnxGraph
    names: dict[str, str]

    @property
    def output_kind(self) -> Kind:
        """Whether the output is logits or features."""
        ...

    def answers(
        self, batch: object, more: Sequence[InnerValue] = ()
    ) -> tuple[object, list[np.ndarray]]:
        """The output, and inner values in the order asked for."""
        ...

    def get_parameter(self, target: str) -> torch.nn.Parameter:
        """A parameter by its name."""
        ...


@dataclass
class Moments:
    """The inputs' moments of a weight in one kind of use: `layer` is the first of that use."""

    layer: OnnxLayer
    side: Gram | Counts
    mean: NDArray[np.float64] | None
    positions: int = 0

    @classmethod
    def of(cls, layer: OnnxLayer, shape: tuple[int, ...], room: Room) -> Moments:
        """An empty sum for a weight of this shape."""
        if layer.kind == "embedding":
            return cls(layer, Counts(shape[0], room), None)
        groups = layer.geometry.groups if layer.geometry else 1
        width = prod(shape[1:]) if layer.geometry else shape[layer.axis]
        full = width <= _WIDEST and not _stacks(layer, shape)
        side = Gram(width * groups, room, groups=groups if full else 1, full=full)
        has_mean = layer.kind in ("linear", "conv")
        return cls(layer, side, np.zeros(width * groups) if has_mean else None)

    def add(self, value: torch.Tensor, mask: torch.Tensor | None, where: str) -> None:
        """Add the inputs of one batch; padding is left out where a mask tells it."""
        if mask is not None and value.shape[:2] == mask.shape and not self.layer.turned:
            value = value[mask]
        if isinstance(self.side, Counts):
            rows = value.reshape(-1).long() % len(self.side.values)
            self.side.add(rows, where)
            self.positions += len(rows)
            return
        for block in _blocks(value, self.layer, self.side.width):
            self.side.add(block, where)
            self.positions += len(block)
            if self.mean is not None:
                self.mean += block.double().sum(0).numpy()

    def form(self, shape: tuple[int, ...]) -> Forms:
        """The mean moments as the side that takes the inputs; the other is the identity."""
        moments = self.side.values / max(1, self.positions)
        by_rows, whole = takes_by_rows(self.layer, shape), identity(shape)
        if self.layer.kind not in ("linear", "recurrent"):
            return Forms(moments, whole.columns) if by_rows else Forms(whole.rows, moments)
        # Of several matrices in one the rows of all are rows.
        rows, columns = np.ones(prod(shape[:-1])), np.ones(shape[-1])
        if not by_rows:
            return Forms(rows, moments)
        return Forms(np.tile(moments, prod(shape[:-2])) if moments.ndim == 1 else moments, columns)

    @property
    def mean_input(self) -> NDArray[np.float64] | None:
        """The mean of the inputs, in shares of what a bias is added to; None of an embedding's."""
        return None if self.mean is None else self.layer.factor * self.mean / max(1, self.positions)


def takes_by_rows(layer: OnnxLayer, shape: tuple[int, ...]) -> bool:
    """Whether the rows of the stored matrix, or matrices, take the inputs; else columns do."""
    if layer.kind in ("linear", "recurrent"):
        return layer.axis == len(shape) - 2
    return layer.kind != "conv"


def _stacks(layer: OnnxLayer, shape: tuple[int, ...]) -> bool:
    """Whether the rows that take the inputs are those of several matrices."""
    rows = layer.kind == "linear" and layer.axis == len(shape) - 2
    return rows and prod(shape[:-2]) > 1


def identity(shape: tuple[int, ...]) -> Forms:
    """The metric of a weight of which nothing is known."""
    return Forms(np.ones(shape[0]), np.ones(int(np.prod(shape[1:]))))


def sum_moments(
    network: OnnxRunner,
    batches: Sequence[object],
    used: Used,
    shapes: Mapping[str, tuple[int, ...]],
    progress: Progress | None,
) -> dict[str, list[Moments]]:
    """Each weight's moments, one sum for each kind of use.

    `used` and `shapes` go by the weight's input of the graph, and so does what is given.
    """
    import torch

    sums = _empty(used, shapes)
    uses = [(weight, layer) for weight, layers in used.items() for layer in layers]
    inner = list(dict.fromkeys(layer.inputs for _, layer in uses))
    for number, batch in enumerate(batches, 1):
        values = _values(network, batch, inner)
        inner, mask = list(values), _mask(batch)
        for weight, layer in uses:
            value = torch.from_numpy(np.array(values.get(layer.inputs, ())))
            where = f"{weight}, batch {number}"
            if value.numel():  # none, of a branch that was not taken
                sums[weight][_use(layer)].add(value, mask, where)
        if progress:
            progress("curvature", number, len(batches))
    return {weight: [*found.values()] for weight, found in sums.items()}


def _values(
    network: OnnxRunner, batch: object, inner: Sequence[InnerValue]
) -> dict[InnerValue, np.ndarray]:
    """What these values are for a batch, but for those that a loop does not stack.

    Their shapes change from step to step, and onnxruntime then refuses the whole run.
    """
    try:
        _, given = network.answers(batch, inner)
    except ArgumentError:
        steady = [one for one in inner if not is_stacked(network.graph.proto, one.scope)]
        if len(steady) == len(inner):
            raise
        return _values(network, batch, steady)
    return dict(zip(inner, given, strict=True))


def _use(layer: OnnxLayer) -> tuple[str, int]:
    return layer.kind, layer.axis


def _empty(
    used: Used, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[tuple[str, int], Moments]]:
    """Sums of nothing yet, by weight and then by kind of use."""
    room = Room(MEMORY)
    sums: dict[str, dict[tuple[str, int], Moments]] = {weight: {} for weight in used}
    for weight, layers in used.items():
        for layer in layers:
            if _use(layer) not in sums[weight]:
                sums[weight][_use(layer)] = Moments.of(layer, shapes[weight], room)
    return sums


def _blocks(value: torch.Tensor, layer: OnnxLayer, width: int) -> list[torch.Tensor]:
    """The vectors that the weight meets, (N, width), in blocks that fit in memory."""
    if layer.kind == "conv_transpose":
        value = channels_last(value)
    if layer.geometry is None:
        value = value.transpose(-1, -2) if layer.turned and value.ndim > 1 else value
        return [value.reshape(-1, width).float()]
    axes = len(layer.geometry.kernel)
    value = value.reshape(-1, *value.shape[-1 - axes :])  # also where steps are stacked
    shape = _padded(layer.geometry, layer.padded, value.shape[2:])
    many, found = max(1, BLOCK // patch_values(value, shape)), []
    for begin in range(0, len(value), many):
        windows = patches(value[begin : begin + many].float(), shape)
        found.append(windows.reshape(-1, windows.shape[-1]))
    return found


def _padded(shape: Geometry, padded: str, space: Sequence[int]) -> Geometry:
    """The geometry with the padding that makes an output for each stride of the input."""
    if not padded:
        return shape
    pairs = []
    for size, kernel, stride, dilation in zip(
        space, shape.kernel, shape.stride, shape.dilation, strict=True
    ):
        wanted = (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1
        less, more = max(0, wanted - size) // 2, -(-max(0, wanted - size) // 2)
        pairs.append((less, more) if padded == "upper" else (more, less))
    return replace(shape, padding=tuple(pairs))


def _mask(batch: object) -> torch.Tensor | None:
    """The positions that are no padding."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None:
        return None
    found = torch.as_tensor(mask)
    return found != 0 if found.ndim == 2 else None
