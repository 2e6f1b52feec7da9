"""A rounded .tflite model with the network's own integers in place of those that rounding made.

Where a weight of the model in floats is on a grid of int8, a scale a channel, AI Edge Quantizer's
min-max finds another scale. Its `dequantized_weight_recovery` takes the least difference of two
values for the scale, which holds for rows that have neighbouring integers alone. Here the scale is
a divisor of all values of a row, and what is put is what was found, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from taut.exporting.device.weight_grid import WeightGrid, weight_grid
from taut.exporting.litert.litert_packages import LITERT

_FLOAT32, _FLOAT16, _INT32, _INT8 = 0, 1, 2, 9  # TensorType of the format's schema
_MOST_BIAS: Final = 2**31 - 1


@dataclass(frozen=True)
class OwnWeights:
    """A model, and how many of its constants hold the network's values, and how many do not."""

    model: bytes
    exact: int
    rounded: int


@dataclass(frozen=True)
class _Bias:
    """A bias of int32, and the scale of the input that its weight is multiplied with."""

    tensor: Any
    scale: float


def own_weights(floats: bytes, rounded: bytes) -> OwnWeights:
    """Put a network's own integers and scales into a model that was rounded from `floats`.

    The biases of static activations, whose scale is the input's times the weight's, follow.
    """
    schema = LITERT.need("ai_edge_litert.tools.flatbuffer_utils")
    before = dict(_floats(_Model(schema.read_model_from_bytearray(bytearray(floats)))))
    model = _Model(schema.read_model_from_bytearray(bytearray(rounded)))
    same = [_settle(model, graph, before) for graph in model.graphs]
    exact = sum(sum(one) for one in same) + sum(1 for _ in _floats(model))
    made = bytes(schema.convert_object_to_bytearray(model.held))
    return OwnWeights(made, exact, sum(len(one) - sum(one) for one in same))


class _Model:
    """The tensors of a model as the format's schema has them."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.graphs: Sequence[Any] = held.subgraphs

    def constant(self, tensor: Any, kind: int) -> bool:
        """Whether a tensor is a constant of a type, and no single number."""
        data = self.held.buffers[tensor.buffer].data
        shaped = tensor.shape is not None and len(tensor.shape) > 0
        return bool(tensor.type == kind and shaped and data is not None and len(data))

    def values(self, tensor: Any, dtype: type) -> np.ndarray:
        """The values of a constant."""
        data = bytes(self.held.buffers[tensor.buffer].data)
        return np.frombuffer(data, dtype).reshape(tuple(tensor.shape))

    def put(self, tensor: Any, values: np.ndarray, scales: np.ndarray) -> None:
        """Give a constant other integers, around 0."""
        data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.held.buffers[tensor.buffer].data = data
        tensor.quantization.scale = scales.astype(np.float32)
        tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)


def _floats(model: _Model) -> Iterator[tuple[bytes, np.ndarray]]:
    """The names and values of a model's constants of floats that are no single numbers."""
    for graph in model.graphs:
        for tensor in graph.tensors:
            if model.constant(tensor, _FLOAT32):
                yield tensor.name, model.values(tensor, np.float32)


def _settle(model: _Model, graph: Any, before: Mapping[bytes, np.ndarray]) -> list[bool]:
    """Put what is a weight's own into a graph; whether each rounded weight holds its values."""
    biases = _biases(model, graph)
    found = []
    for at, tensor in enumerate(graph.tensors):
        values = before.get(tensor.name)
        if values is None:
            continue
        if model.constant(tensor, _FLOAT16):
            found.append(np.array_equal(model.values(tensor, np.float16), values))
        elif model.constant(tensor, _INT8) and _scales(tensor) is not None:
            found.append(
                _placed(model, tensor, values, [(one, before) for one in biases.get(at, ())])
            )
    return found


def _scales(tensor: Any) -> np.ndarray | None:
    """The scales of a tensor of integers."""
    return None if tensor.quantization is None else tensor.quantization.scale


def _grid(tensor: Any, values: np.ndarray) -> WeightGrid:
    """The grid of a weight, along the axis that the model has scales for."""
    axis, scales = int(tensor.quantization.quantizedDimension or 0), _scales(tensor)
    assert scales is not None
    if len(scales) == values.shape[axis]:
        return weight_grid(values, axis)
    flat = weight_grid(values.reshape(1, -1), 0)  # one scale for all
    return WeightGrid(flat.values.reshape(values.shape), flat.scales, axis, flat.own)


def _biases(model: _Model, graph: Any) -> dict[int, list[_Bias]]:
    """The biases of int32 of each weight, by the weight's place."""
    found: dict[int, list[_Bias]] = {}
    for operator in graph.operators:
        places = [int(at) for at in operator.inputs if at >= 0]
        weights = [at for at in places if model.constant(graph.tensors[at], _INT8)]
        if len(weights) == 1:
            given = [graph.tensors[at] for at in places]
            found.setdefault(weights[0], []).extend(_biases_among(model, given))
    return found


def _biases_among(model: _Model, given: Sequence[Any]) -> list[_Bias]:
    """The biases of int32 among an operator's inputs."""
    scale = _input_scale(model, given)
    if scale is None:
        return []
    return [_Bias(one, scale) for one in given if _is_bias(model, one)]


def _is_bias(model: _Model, tensor: Any) -> bool:
    """Whether a tensor is a constant of int32 that stands for floats."""
    return model.constant(tensor, _INT32) and _scales(tensor) is not None


def _input_scale(model: _Model, given: Sequence[Any]) -> float | None:
    """The scale of the one value of int8 among an operator's inputs that is no constant."""
    inputs = [one for one in given if one.type == _INT8 and not model.constant(one, _INT8)]
    scales = _scales(inputs[0]) if len(inputs) == 1 else None
    return None if scales is None else float(scales[0])


def _placed(model: _Model, tensor: Any, values: np.ndarray, biases: Sequence[Any]) -> bool:
    """Put a weight's own integers, and the biases that go with them; False where it has none."""
    grid = _grid(tensor, values)
    if not grid.own:
        return False
    new = []
    for bias, before in biases:
        scales = np.float32(bias.scale) * grid.scales
        whole = np.rint(before[bias.tensor.name].astype(np.float64) / scales)
        if np.abs(whole).max(initial=0) > _MOST_BIAS:
            return False
        new.append((bias.tensor, whole.astype(np.int32), scales))
    model.put(tensor, grid.values, grid.scales)
    for one, whole, scales in new:
        model.put(one, whole, scales)
    return True
