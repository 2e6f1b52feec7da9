"""A graph in onnxruntime: its session, and batches as it takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taut.networks.onnx_packages import need
from taut.networks.onnx_values import GraphInputs

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


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


def feed(session: InferenceSession, batch: object) -> dict[str, Any]:
    """A batch as the graph's inputs: by name, or in order.

    Raises:
        ArgumentError: a name that the graph does not take, or one that it misses.
    """
    args, kwargs = call_of(batch)
    return GraphInputs.of(session).take(args, kwargs)


def call_of(batch: object) -> tuple[Sequence[object], dict[str, object]]:
    """A batch as a call's arguments: in order, or by name."""
    if isinstance(batch, Mapping):
        return (), {str(name): value for name, value in batch.items()}
    return (tuple(batch) if isinstance(batch, tuple | list) else (batch,)), {}
