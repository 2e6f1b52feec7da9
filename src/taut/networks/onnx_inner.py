"""Values within the subgraphs of an ONNX model, handed out to where a session can give them.

A branch of an If hands a value out as one more output, of which the other branch has none; the
body of a Loop or a Scan as one more value that is stacked over the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taut.io.onnx import Place
from taut.networks.onnx_packages import need

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MAIN: Final[Place] = ("graph",)
_LISTS: Final = ("scan_output_axes", "scan_output_directions")


@dataclass(frozen=True)
class InnerValue:
    """A value of the graph at `scope`; `numbers` says that it holds whole numbers, not floats."""

    scope: Place
    name: str
    numbers: bool = False


def is_reachable(proto: ModelProto, scope: Place) -> bool:
    """Whether values of that graph can be handed out: the main one, an If's, Loop's or Scan's."""
    return set(owners(proto, scope)) <= {"If", "Loop", "Scan"}


def is_stacked(proto: ModelProto, scope: Place) -> bool:
    """Whether values of that graph come step by step."""
    return bool({"Loop", "Scan"} & set(owners(proto, scope)))


def owners(proto: ModelProto, scope: Place) -> list[str]:
    """The operators that a graph lies in, the innermost first."""
    found = []
    while scope != MAIN:
        found.append(str(at(proto, scope[:-3]).op_type))
        scope = scope[:-5]
    return found


def with_values(proto: ModelProto, wanted: Sequence[InnerValue]) -> tuple[ModelProto, list[str]]:
    """A copy of a model that gives these values too, and the outputs' names in the same order."""
    model = type(proto)()
    model.CopyFrom(proto)
    held = {one.name for one in model.graph.output}
    names = []
    for number, value in enumerate(wanted):
        name = value.name
        if value.scope != MAIN:
            name = _hand_out(model, value, f"taut.inner.{number}")
        if name not in held:
            held.add(name)
            model.graph.output.append(need("onnx").ValueInfoProto(name=name))
        names.append(name)
    return model, names


def at(message: Any, place: Place) -> Any:
    """What lies at a place of a parsed model."""
    for step in place:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    return message


def _hand_out(model: ModelProto, value: InnerValue, alias: str) -> str:
    """Hand a value from graph to graph up to the main one; gives its name there."""
    onnx = need("onnx")
    kind = onnx.TensorProto.INT64 if value.numbers else onnx.TensorProto.FLOAT
    scope, name, level = value.scope, f"{alias}.0", 0
    at(model, scope).node.append(onnx.helper.make_node("Cast", [value.name], [name], to=kind))
    while scope != MAIN:
        level += 1
        above = f"{alias}.{level}"
        _give(at(model, scope[:-3]), at(model, scope), name, above, kind)
        scope, name = scope[:-5], above
    return name


def _give(node: NodeProto, graph: GraphProto, name: str, above: str, kind: int) -> None:
    """Make a value of a subgraph one more output of its node."""
    helper = need("onnx").helper
    outputs = len(graph.output) - (node.op_type == "Loop")  # its first is the condition
    graph.output.append(helper.make_tensor_value_info(name, kind, None))
    while len(node.output) < outputs:  # those at the end that nobody asked for
        node.output.append(f"{above}.{len(node.output)}")
    node.output.append(above)
    for attribute in node.attribute:
        if attribute.name in _LISTS:
            attribute.ints.append(0)
        other = node.op_type == "If" and attribute.HasField("g")
        if other and all(one.name != name for one in attribute.g.output):
            _give_nothing(attribute.g, name, kind)


def _give_nothing(graph: GraphProto, name: str, kind: int) -> None:
    helper = need("onnx").helper
    nothing = helper.make_tensor("", kind, [0], [])
    graph.node.append(helper.make_node("Constant", [], [name], value=nothing))
    graph.output.append(helper.make_tensor_value_info(name, kind, None))
