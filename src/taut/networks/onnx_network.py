"""An ONNX model as a network that runs in onnxruntime, with weights that can be changed.

Surprises first. The weights are taken out of the graph and become its inputs, fed anew each time:
so one session serves for any values, and nothing is folded into a weight beforehand. The network
is an nn.Module with parameters like any other, but for one thing: nothing has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taut.errors import ArgumentError
from taut.io.onnx import open_onnx
from taut.networks.calls import explained
from taut.networks.onnx_inner import MAIN, InnerValue, with_values
from taut.networks.onnx_module import Answers
from taut.networks.onnx_packages import need
from taut.networks.onnx_session import call_of, open_session
from taut.networks.onnx_values import GraphInputs, as_output
from taut.networks.onnx_weights import OVERRIDABLE, detach, dtypes_of
from taut.networks.outputs import is_head

if TYPE_CHECKING:
    import torch
    from onnx import NodeProto
    from onnxruntime import InferenceSession

    from taut.networks.output_vectors import Kind


class OnnxGraph:
    """The graph without the weights that are fed; shared by all copies of a network.

    `fed` maps a weight to the input that it is fed to, `dtypes` to what the graph takes it in.
    `inputs` are the graph's own.
    """

    def __init__(self, path: Path) -> None:
        onnx = need("onnx")
        self.source = open_onnx(path)
        self.path, self.proto = path, onnx.load(str(path), load_external_data=False)
        old = self.proto.ir_version < OVERRIDABLE  # there, every initialiser is an input too
        defaults = set() if old else {one.name for one in self.proto.graph.input}
        self.fed = detach(self.proto, self.source)
        self.dtypes = dtypes_of(self.proto, self.fed)
        self._sessions: dict[tuple[InnerValue, ...], tuple[InferenceSession, list[str]]] = {}
        session, _ = self.session()
        self.outputs = {one.name: one.type for one in session.get_outputs()}
        self.inputs = GraphInputs.of(session).without(self.fed.values(), defaults)

    def __deepcopy__(self, memory: object) -> OnnxGraph:
        """Sessions hold nothing that differs between copies."""
        return self

    def session(self, more: Sequence[InnerValue] = ()) -> tuple[InferenceSession, list[str]]:
        """A session that gives these values too, and the outputs that they are, in order."""
        need("onnxruntime")
        key = tuple(more)
        if key not in self._sessions:
            model, names = with_values(self.proto, key)
            try:
                self._sessions[key] = open_session(model.SerializeToString()), names
            except Exception as error:  # onnxruntime's own kinds
                raise ArgumentError(f"{self.path}: onnxruntime cannot run it: {error}") from error
        return self._sessions[key]

    def output_kind(self) -> Kind:
        """Whether the output is logits, by its name or that of the layer that gives it.

        Raises:
            ArgumentError: no output holds floats.
        """
        self._check_outputs()
        if "logits" in self.outputs:
            return "logits"
        names = {value: name for name, value in self.fed.items()}
        weights = (
            names[name] for node in self._last_layer() for name in node.input if name in names
        )
        return "logits" if any(map(is_head, weights)) else "features"

    def leads(self, weights: Collection[str], outputs: Collection[str]) -> bool:
        """Whether any of these tensors leads to any of the outputs; what has graphs may hide it."""
        makers = {name: node for node in self.proto.graph.node for name in node.output}
        wanted, seen, left = {self.fed[one] for one in weights}, set[str](), [*outputs]
        while left:
            name = left.pop()
            node = makers.get(name)
            if name in wanted or (node is not None and _has_graphs(node)):
                return True
            if node is not None and name not in seen:
                seen.add(name)
                left += node.input
        return False

    def _check_outputs(self) -> None:
        if any("float" in kind or "double" in kind for kind in self.outputs.values()):
            return
        told = ", ".join(f"{name}: {kind}" for name, kind in self.outputs.items())
        raise ArgumentError(
            f"{self.path}: no output of the graph holds floats ({told}), which calibration "
            "compares; give a graph that puts out its scores, as they are before an ArgMax"
        )

    def _last_layer(self) -> list[NodeProto]:
        """The nodes of the linear layer that gives the first output; none if another does."""
        makers = {name: node for node in self.proto.graph.node for name in node.output}
        last = makers.get(next(iter(self.outputs)))
        nodes = [] if last is None else [last]
        if last is not None and last.op_type == "Add":  # the bias of the layer before it
            nodes += [makers[name] for name in last.input if name in makers][:1]
        return nodes if nodes and nodes[-1].op_type in ("Gemm", "MatMul") else []


def _has_graphs(node: NodeProto) -> bool:
    return any(one.HasField("g") or one.graphs for one in node.attribute)


def open_network(path: Path) -> tuple[torch.nn.Module, dict[str, str]]:
    """The model as a module to run, and the names of its parameters by those of the tensors.

    It is called as the graph is: inputs in order, or by name. One output is given as a tensor,
    several by name.

    Raises:
        ArgumentError: the extra is missing, or the model cannot be run.
    """
    need("torch")
    graph = OnnxGraph(path)
    network = _onnx_network()(graph).eval()
    return network, {tensor: parameter for parameter, tensor in _named(graph).items()}


def _named(graph: OnnxGraph) -> dict[str, str]:
    """Tensors by the parameters that hold them."""
    return {f"w{number}": name for number, name in enumerate(graph.fed)}


@cache
def _onnx_network() -> Callable[[OnnxGraph], torch.nn.Module]:
    import torch

    class OnnxNetwork(torch.nn.Module):  # type: ignore[name-defined,misc,unused-ignore]
        """Runs the graph with its parameters as they are."""

        def __init__(self, graph: OnnxGraph) -> None:
            super().__init__()
            self.graph = graph
            self.input_shapes = {name: graph.inputs.shapes[name] for name in graph.inputs.needed}
            self.names = _named(graph)
            for parameter, name in self.names.items():
                values = torch.from_numpy(np.array(graph.source.load(name), np.float32))
                held = torch.nn.Parameter(values, requires_grad=False)
                self.register_parameter(parameter, held)

        @property
        def output_kind(self) -> Kind:
            """Whether the output is logits or features."""
            return self.graph.output_kind()

        def leads(self, matrices: Collection[str], places: Collection[str]) -> bool:
            """Whether any of these parameters leads to any of the outputs at these places."""
            tensors = [self.names[one] for one in matrices if one in self.names]
            outputs = self.graph.outputs  # a place within one begins with its name
            named = [
                name
                for name in outputs
                if any(place in ("", name) or place.startswith(f"{name}.") for place in places)
            ]
            return self.graph.leads(tensors, named)

        def weights(self) -> dict[str, np.ndarray]:
            """The parameters as the graph takes them, by its inputs."""
            own = self.names.items()
            held = {name: getattr(self, key).detach().numpy() for key, name in own}
            return {
                self.graph.fed[n]: v.astype(self.graph.dtypes[n], copy=False)
                for n, v in held.items()
            }

        def answers(
            self, batch: object, more: Sequence[InnerValue] = ()
        ) -> tuple[object, list[np.ndarray]]:
            """What the model gives for a batch, and inner values in the order asked for."""
            args, kwargs = call_of(batch)
            taken = self.graph.inputs.take(args, kwargs)
            inner = [one for one in more if one.scope != MAIN or one.name not in taken]
            session, names = self.graph.session(inner)
            found = self._ran(session, taken)
            known = {one: found[name] for one, name in zip(inner, names, strict=True)}
            return self._output(found), [
                known[one] if one in known else taken[one.name] for one in more
            ]

        def forward(self, *args: object, **kwargs: object) -> object:
            """Run the graph on tensors or arrays."""
            session, _ = self.graph.session()
            return self._output(self._ran(session, self.graph.inputs.take(args, kwargs)))

        def _ran(self, session: InferenceSession, taken: Mapping[str, Any]) -> dict[str, Any]:
            """The session's outputs by name."""
            with explained(f"{self.graph.path}: onnxruntime rejects the batch", taken):
                given = session.run(None, {**self.weights(), **taken})
            return dict(zip([one.name for one in session.get_outputs()], given, strict=True))

        def _output(self, found: Mapping[str, object]) -> object:
            values = {name: as_output(found[name]) for name in self.graph.outputs}
            return next(iter(values.values())) if len(values) == 1 else Answers(values)

    return OnnxNetwork
