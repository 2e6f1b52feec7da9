"""A graph in onnxruntime: its session, and batches as it takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taut.errors import ArgumentError
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

NUMPY = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}


def open_session(model: Path | bytes, *, threads: int = 0, fused: bool = True) -> InferenceSession:
    """A session on the CPU; `fused` allows the runtime's own kernels for groups of nodes."""
    ort = need("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = str(model) if isinstance(model, Path) else model
    return ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def observed(model: ModelProto, names: Sequence[str]) -> InferenceSession:
    """A session that gives inner values of a graph too; the graph is not changed."""
    onnx = need("onnx")
    held = {output.name for output in model.graph.output}
    added = [onnx.ValueInfoProto(name=name) for name in names if name not in held]
    count = len(model.graph.output)
    try:
        model.graph.output.extend(added)
        return open_session(model.SerializeToString())
    finally:
        del model.graph.output[count:]


def feed(session: InferenceSession, batch: object) -> dict[str, np.ndarray]:
    """A batch as the graph's inputs: by name, or in order.

    Raises:
        ArgumentError: a name that the graph does not take, or one that it misses.
    """
    if isinstance(batch, Mapping):
        return arguments(session, (), {str(name): value for name, value in batch.items()})
    if isinstance(batch, tuple | list):
        return arguments(session, tuple(batch), {})
    return arguments(session, (batch,), {})


def arguments(
    session: InferenceSession, args: Sequence[object], kwargs: Mapping[str, object]
) -> dict[str, np.ndarray]:
    """Arguments of a call as the graph's inputs; None stands for what is not given."""
    inputs = {entry.name: entry.type for entry in session.get_inputs()}
    if len(args) > len(inputs):
        raise ArgumentError(
            f"the graph takes {len(inputs)} inputs ({_list(inputs)}), not {len(args)}"
        )
    both = {**dict(zip(inputs, args, strict=False)), **kwargs}
    given = {name: value for name, value in both.items() if value is not None}
    _check_names(given, inputs)
    return {name: _array(value, inputs[name]) for name, value in given.items()}


def _check_names(given: Mapping[str, object], inputs: Mapping[str, str]) -> None:
    """Raise `ArgumentError` unless every input of the graph is given, and nothing else."""
    if strange := [name for name in given if name not in inputs]:
        raise ArgumentError(f"the graph has no input {_list(strange)}; it takes {_list(inputs)}")
    if missing := [name for name in inputs if name not in given]:
        raise ArgumentError(f"the graph misses its input {_list(missing)}")


def _array(value: object, kind: str) -> np.ndarray:
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.ascontiguousarray(value, NUMPY.get(kind))


def _list(names: object) -> str:
    return ", ".join(f'"{name}"' for name in names)  # type: ignore[attr-defined]
