"""An ONNX model as a network that runs in onnxruntime, with weights that can be changed.

Surprises first. The weights are taken out of the graph and become its inputs, fed anew each time:
so one session serves for any values, and nothing is folded into a weight beforehand. The network
is an nn.Module with parameters like any other, but for one thing: nothing has a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.errors import ArgumentError
from taut.io import Source
from taut.io.onnx import open_onnx
from taut.networks.onnx_module import Answers
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import NUMPY, open_session
from taut.networks.outputs import is_head

if TYPE_CHECKING:
    import torch
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto
    from onnxruntime import InferenceSession

    from taut.networks.output_vectors import Kind

_FLOATS: Final = ("F16", "BF16", "F32", "F64")
# What these take must not change: shapes hang on it, or the runtime wants it as a constant.
_FIXED: Final = (
    "Clip", "ConstantOfShape", "DequantizeLinear", "DynamicQuantizeMatMul", "GatherBlockQuantized",
    "Loop", "MatMulIntegerToFloat", "MatMulNBits", "OneHot", "Pad", "QAttention", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear", "Range", "Resize", "Scan", "Upsample",
)  # fmt: skip
_OVERRIDABLE: Final = 4  # the first IR version whose initialisers are no inputs


class OnnxGraph:
    """The graph without the weights that are fed; shared by all copies of a network.

    `fed` maps a weight to the dtype that the graph takes it in, `inputs` the graph's own inputs.
    """

    def __init__(self, path: Path) -> None:
        onnx = need("onnx")
        source = open_onnx(path)
        self.path, self.proto = path, onnx.load(str(path), load_external_data=False)
        self.fed = _detached(self.proto, source)
        self._sessions: dict[tuple[str, ...], InferenceSession] = {}
        session = self.session()
        self.outputs = [one.name for one in session.get_outputs()]
        self.inputs = {o.name: o.type for o in session.get_inputs() if o.name not in self.fed}

    def __deepcopy__(self, memory: object) -> OnnxGraph:
        """Sessions hold nothing that differs between copies."""
        return self

    def session(self, more: Sequence[str] = ()) -> InferenceSession:
        """A session that gives the values of these names too, after the graph's outputs."""
        need("onnxruntime")
        key = tuple(more)
        if key not in self._sessions:
            self._sessions[key] = self._opened(key)
        return self._sessions[key]

    def _opened(self, more: tuple[str, ...]) -> InferenceSession:
        onnx, outputs = need("onnx"), self.proto.graph.output
        count, held = len(outputs), {one.name for one in outputs}
        outputs.extend(onnx.ValueInfoProto(name=name) for name in more if name not in held)
        try:
            return open_session(self.proto.SerializeToString())
        except Exception as error:  # onnxruntime's own kinds
            raise ArgumentError(f"{self.path}: onnxruntime cannot run it: {error}") from error
        finally:
            del outputs[count:]

    def output_kind(self) -> Kind:
        """Whether the output is logits, by its name or that of the layer that gives it."""
        if "logits" in self.outputs:
            return "logits"
        weights = (name for node in self._last_layer() for name in node.input if name in self.fed)
        return "logits" if any(map(is_head, weights)) else "features"

    def _last_layer(self) -> list[NodeProto]:
        """The nodes of the linear layer that gives the first output; none if another does."""
        makers = {name: node for node in self.proto.graph.node for name in node.output}
        last = makers.get(self.outputs[0])
        nodes = [] if last is None else [last]
        if last is not None and last.op_type == "Add":  # the bias of the layer before it
            nodes += [makers[name] for name in last.input if name in makers][:1]
        return nodes if nodes and nodes[-1].op_type in ("Gemm", "MatMul") else []

    def arguments(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> dict[str, np.ndarray]:
        """Arguments of a call as the graph's inputs.

        Raises:
            ArgumentError: there are too many, too few, or others.
        """
        told = ", ".join(self.inputs)
        if len(args) > len(self.inputs):
            raise ArgumentError(f"{len(args)} arguments, but the graph takes {told}")
        given = dict(zip(self.inputs, args, strict=False)) | dict(kwargs)
        for name in given:
            if name not in self.inputs:
                raise ArgumentError(f'the graph has no input "{name}"; it takes {told}')
        if missing := [name for name in self.inputs if given.get(name) is None]:
            raise ArgumentError(f'the graph misses its input "{missing[0]}"; it takes {told}')
        return {name: _array(value, self.inputs[name]) for name, value in given.items()}


def open_network(path: Path) -> tuple[torch.nn.Module, dict[str, str]]:
    """The model as a module to run, and the names of its parameters by those of the tensors.

    It is called as the graph is: inputs in order, or by name. One output is given as a tensor,
    several by name.

    Raises:
        ArgumentError: the extra is missing, or the model cannot be run.
    """
    torch = need("torch")
    graph = OnnxGraph(path)
    source = open_onnx(path)

    class OnnxNetwork(torch.nn.Module):  # type: ignore[name-defined,misc,unused-ignore]
        """Runs the graph with its parameters as they are."""

        def __init__(self) -> None:
            super().__init__()
            self.graph = graph
            self.output_kind = graph.output_kind()
            self.names = {f"w{number}": name for number, name in enumerate(graph.fed)}
            for parameter, name in self.names.items():
                values = torch.from_numpy(np.array(source.load(name), np.float32))
                held = torch.nn.Parameter(values, requires_grad=False)
                self.register_parameter(parameter, held)

        def weights(self) -> dict[str, np.ndarray]:
            """The parameters as the graph takes them, by the tensors' names."""
            own = self.names.items()
            held = {name: getattr(self, key).detach().numpy() for key, name in own}
            return {n: v.astype(graph.fed[n], copy=False) for n, v in held.items()}

        def answers(
            self, batch: object, more: Sequence[str] = ()
        ) -> tuple[object, dict[str, np.ndarray]]:
            """What the model gives for a batch, and inner values by name."""
            args, kwargs = _call(batch)
            session = graph.session(more)
            given = session.run(None, {**graph.arguments(args, kwargs), **self.weights()})
            names = [one.name for one in session.get_outputs()]
            found = dict(zip(names, given, strict=True))
            return self._output(found), {**graph.arguments(args, kwargs), **found}

        def forward(self, *args: object, **kwargs: object) -> object:
            """Run the graph on tensors or arrays."""
            given = {**graph.arguments(args, kwargs), **self.weights()}
            found = graph.session().run(None, given)
            return self._output(dict(zip(graph.outputs, found, strict=True)))

        def _output(self, found: Mapping[str, np.ndarray]) -> object:
            values = {name: torch.from_numpy(np.array(found[name])) for name in graph.outputs}
            return next(iter(values.values())) if len(values) == 1 else Answers(values)

    network = OnnxNetwork().eval()
    return network, {tensor: parameter for parameter, tensor in network.names.items()}


def _detached(proto: ModelProto, source: Source) -> dict[str, np.dtype]:
    """Make inputs of all weights that may change; the others get their values if they lie outside.

    Gives the weights' dtypes.
    """
    onnx = need("onnx")
    graph, infos = proto.graph, {info.name: info for info in source.infos}
    free = _free(graph, source)
    known = {one.name for one in graph.input}
    proto.ir_version = max(proto.ir_version, _OVERRIDABLE)
    fed: dict[str, np.dtype] = {}
    kept: list[TensorProto] = []
    for one in graph.initializer:
        if one.name not in free:
            if one.name in infos and one.data_location == onnx.TensorProto.EXTERNAL:
                _embed(one, source.load(one.name).tobytes())
            kept.append(one)
            continue
        fed[one.name] = onnx.helper.tensor_dtype_to_np_dtype(one.data_type)
        if one.name not in known:
            shape = infos[one.name].shape
            value = onnx.helper.make_tensor_value_info(one.name, one.data_type, shape)
            graph.input.append(value)
    _keep(graph, kept)
    return fed


def _free(graph: GraphProto, source: Source) -> set[str]:
    """Names of the weights that may change: arrays of floats that no shape hangs on."""
    fixed = {name for node in graph.node if node.op_type in _FIXED for name in node.input}
    fixed |= {output.name for output in graph.output}
    return {
        info.name
        for info in source.infos
        if info.dtype in _FLOATS
        and info.name not in fixed
        and len(info.shape)
        and np.prod(info.shape) > 1
    }


def _embed(initializer: TensorProto, values: bytes) -> None:
    """Put values that lie in a file beside the model into the model."""
    initializer.ClearField("external_data")
    initializer.data_location = need("onnx").TensorProto.DEFAULT
    initializer.raw_data = values


def _keep(graph: GraphProto, kept: list[TensorProto]) -> None:
    copies = [type(one).FromString(one.SerializeToString()) for one in kept]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    names = {one.name for one in kept}
    # An initialiser that is an input too may be left out of a call: here it never is given.
    inputs = [one for one in graph.input if one.name not in names]
    if len(inputs) < len(graph.input):
        same = [type(one).FromString(one.SerializeToString()) for one in inputs]
        del graph.input[:]
        graph.input.extend(same)


def _call(batch: object) -> tuple[Sequence[object], dict[str, object]]:
    """A batch as a call's arguments: in order, or by name."""
    if isinstance(batch, Mapping):
        return (), {str(name): value for name, value in batch.items()}
    return (tuple(batch) if isinstance(batch, tuple | list) else (batch,)), {}


def _array(value: object, kind: str) -> np.ndarray:
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.ascontiguousarray(value, NUMPY.get(kind))
