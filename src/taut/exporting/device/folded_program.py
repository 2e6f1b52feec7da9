"""A network as a graph of PyTorch's own operators, with its batch norms in the weights before them.

Converters fold some norms, each in its own way; what they leave computes in floats between
integers. Folded here, a norm's factor goes into the scales of a weight that is on a grid of
integers, and its integers stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from taut.errors import ArgumentError
from taut.exporting.device.quiet_native import quiet_native
from taut.exporting.onnx.answers import tensors
from taut.networks.calls import are_arguments, evaluating, told
from taut.networks.precision import in_single

if TYPE_CHECKING:
    import torch

_NORM: Final = "aten.batch_norm.default"
# Layers that a norm goes into, and the axis of their weight that it scales.
_LAYERS: Final = {
    **dict.fromkeys(("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default"), 0),
    **dict.fromkeys(("aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding"), 0),
    "aten.linear.default": 0,
    "aten.conv_transpose1d.default": 1,
    "aten.conv_transpose2d.input": 1,
    "aten.conv_transpose3d.input": 1,
}
_GROUPS: Final = 6  # where a transposed convolution's arguments have them


@dataclass(frozen=True)
class Folded:
    """The graph as a module, a call's arguments, and how many norms went into weights."""

    module: torch.fx.GraphModule
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    norms: int

    def constants(self) -> list[torch.Tensor]:
        """The tensors of floats that the graph takes, each once, single numbers left out."""
        found = {
            str(node.target): _constant(self.module, node)
            for node in self.module.graph.nodes
            if node.op == "get_attr" and node.users
        }
        tensors = [one for one in found.values() if one is not None]
        return [one for one in tensors if one.is_floating_point() and one.ndim]


def folded_program(module: torch.nn.Module, example: object) -> Folded:
    """Trace a network in evaluation mode on one sample, in float32, and fold its norms.

    The module is not changed; the shapes are the example's.

    Raises:
        ArgumentError: PyTorch's exporter cannot follow the module.
    """
    import torch

    single = in_single(module, lambda: [example])
    args, kwargs = _arguments(example)
    flat = _flat(single)
    with evaluating(flat), torch.no_grad(), quiet_native():
        try:
            program = torch.export.export(flat, args, kwargs, strict=False)
        except Exception as error:  # of many kinds
            raise ArgumentError(
                f"PyTorch's exporter cannot follow {type(module).__name__}: {told(error)}; its "
                "forward must run under torch.export (no branches on values), or be split into "
                "parts that do"
            ) from error
        graph = program.module(check_guards=False)
        _lay_out(graph)
        norms = _fold(graph)
    return Folded(graph, args, kwargs, norms)


def _flat(module: torch.nn.Module) -> torch.nn.Module:
    """The module with its tensors as a tuple, in its order: some converters sort dicts by name."""

    def forward(*args: object, **kwargs: object) -> tuple[torch.Tensor, ...]:
        return tuple(tensors(module(*args, **kwargs)))

    forward.__signature__ = inspect.signature(module.forward)  # type: ignore[attr-defined]
    made = _flat_outputs()(module)
    made.forward = forward
    return made


@cache
def _flat_outputs() -> Callable[[torch.nn.Module], torch.nn.Module]:
    import torch

    class FlatOutputs(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

    return FlatOutputs


def exported_again(folded: Folded) -> torch.export.ExportedProgram:
    """The folded graph as the program that converters take."""
    import torch

    with torch.no_grad(), quiet_native():
        return torch.export.export(folded.module, folded.args, folded.kwargs, strict=False)


def _arguments(example: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), {str(name): value for name, value in example.items()}
    return (tuple(example) if are_arguments(example) else (example,)), {}


def _lay_out(graph: torch.fx.GraphModule) -> None:
    """Have weights lie in plain order: converters keep another one (channels_last) as it is."""
    for node in graph.graph.nodes:
        held = _constant(graph, node)
        if held is not None and not held.is_contiguous():
            name = f"{node.name}_laid_out"
            graph.register_parameter(name, _fixed(held.detach().contiguous()))
            node.target = name


def _fold(graph: torch.fx.GraphModule) -> int:
    """Put norms into the layers before them, in place; how many there were."""
    norms = [node for node in graph.graph.nodes if str(node.target) == _NORM]
    count = sum(_folded(graph, node) for node in norms)
    graph.graph.lint()
    graph.recompile()
    return count


@dataclass(frozen=True)
class _Terms:
    """What a norm does: factor * x + shift, float64, a value a channel."""

    factor: torch.Tensor
    shift: torch.Tensor


def _folded(graph: torch.fx.GraphModule, norm: Any) -> bool:
    """Put one norm into the layer before it, if that is the norm's alone."""
    layer = norm.args[0]
    terms, weight = _terms(graph, norm), _weight(graph, layer)
    if terms is None or weight is None:
        return False
    given = layer.args[2] if len(layer.args) > 2 else layer.kwargs.get("bias")
    bias = _constant(graph, given)
    if given is not None and bias is None:
        return False
    _put(graph, layer, (weight, bias), terms)
    norm.replace_all_uses_with(layer)
    graph.graph.erase_node(norm)
    return True


def _weight(graph: torch.fx.GraphModule, layer: Any) -> torch.Tensor | None:
    """The weight of a layer that a norm can go into: one that nothing else takes."""
    kind = str(layer.target)
    if kind not in _LAYERS or len(layer.users) != 1 or len(layer.args[1].users) != 1:
        return None
    groups = layer.args[_GROUPS] if len(layer.args) > _GROUPS else layer.kwargs.get("groups", 1)
    if _LAYERS[kind] and groups != 1:  # a transposed one holds a group's outputs alone
        return None
    if kind == "aten.linear.default" and getattr(layer.meta.get("val"), "ndim", 0) != 2:
        return None  # the norm's channels are another axis
    return _constant(graph, layer.args[1])


def _terms(graph: torch.fx.GraphModule, norm: Any) -> _Terms | None:
    """What a norm does; None where it has no fixed statistics."""
    import torch

    training, epsilon = norm.args[5], norm.args[7]
    weight, bias, mean, variance = (_constant(graph, one) for one in norm.args[1:5])
    if training or mean is None or variance is None:
        return None
    factor = torch.rsqrt(variance.double() + epsilon)
    factor = factor if weight is None else factor * weight.double()
    shift = -mean.double() * factor
    return _Terms(factor, shift if bias is None else shift + bias.double())


def _constant(graph: torch.fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The tensor of a node that fetches one of the module's."""
    import torch

    if not isinstance(node, torch.fx.Node) or node.op != "get_attr":
        return None
    found: Any = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found if isinstance(found, torch.Tensor) else None


def _put(
    graph: torch.fx.GraphModule,
    layer: Any,
    held: tuple[torch.Tensor, torch.Tensor | None],
    terms: _Terms,
) -> None:
    """Give a layer a weight and a bias of its own, as the norm makes them."""
    weight, bias = held
    axis = _LAYERS[str(layer.target)]
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    new = weight.double() * terms.factor.reshape(shape)
    moved = terms.shift if bias is None else bias.double() * terms.factor + terms.shift
    names = []
    for end, values in (("weight", new), ("bias", moved)):
        name = f"{layer.name}_folded_{end}"
        graph.register_parameter(name, _fixed(values.to(weight.dtype).contiguous()))
        with graph.graph.inserting_before(layer):
            names.append(graph.graph.get_attr(name))
    layer.args = (layer.args[0], *names, *layer.args[3:])
    layer.kwargs = {name: one for name, one in layer.kwargs.items() if name != "bias"}


def _fixed(values: torch.Tensor) -> torch.nn.Parameter:
    import torch

    return torch.nn.Parameter(values, requires_grad=False)
