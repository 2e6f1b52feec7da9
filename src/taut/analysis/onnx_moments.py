"""The inputs' moments of an ONNX model's weights, from one pass over the data.

Of a layer y = W x they are H = mean of x x^T, summed from the values that the graph hands to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from taut.analysis._conv import patch_values, patches
from taut.analysis._gram import BLOCK, Counts, Gram, Room
from taut.analysis._terms import Forms
from taut.analysis.curvature import MEMORY
from taut.analysis.onnx_layers import OnnxLayer
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
        width = shape[0] if layer.swapped else int(np.prod(shape[1:]))
        side = Gram(width * groups, room, groups=groups, full=width <= _WIDEST)
        return cls(layer, side, np.zeros(width * groups))

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

    def form(self, shape: tuple[int, ...]) -> Forms:
        """The mean moments as the side that takes the inputs; the other is the identity."""
        moments = self.side.values / max(1, self.positions)
        whole = identity(shape)
        if self.layer.swapped or self.layer.kind == "embedding":
            return Forms(moments, whole.columns)
        return Forms(whole.rows, moments)

    @property
    def mean_input(self) -> NDArray[np.float64] | None:
        """The mean of the inputs; None of an embedding's."""
        return None if self.mean is None else self.mean / max(1, self.positions)


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

    `used` and `shapes` go by the weight's tensor, and so does what is given.
    """
    import torch

    sums = _empty(used, shapes)
    uses = [(weight, layer) for weight, layers in used.items() for layer in layers]
    inner = sorted({layer.inputs for _, layer in uses} - set(network.graph.inputs))
    for number, batch in enumerate(batches, 1):
        _, values = network.answers(batch, inner)
        mask = _mask(batch)
        for weight, layer in uses:
            value = torch.from_numpy(np.array(values[layer.inputs]))
            where = f"{weight}, batch {number}"
            sums[weight][layer.kind, layer.swapped].add(value, mask, where)
        if progress:
            progress("curvature", number, len(batches))
    return {weight: list(found.values()) for weight, found in sums.items()}


def _empty(
    used: Used, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[tuple[str, bool], Moments]]:
    """Sums of nothing yet, by weight and then by kind of use."""
    room = Room(MEMORY)
    sums: dict[str, dict[tuple[str, bool], Moments]] = {weight: {} for weight in used}
    for weight, layers in used.items():
        for layer in layers:
            key = layer.kind, layer.swapped
            if key not in sums[weight]:
                sums[weight][key] = Moments.of(layer, shapes[weight], room)
    return sums


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


def _mask(batch: object) -> torch.Tensor | None:
    """The positions that are no padding."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if mask is None:
        return None
    found = torch.as_tensor(mask)
    return found != 0 if found.ndim == 2 else None
