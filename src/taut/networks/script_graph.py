"""A TorchScript graph run operator by operator in Python.

Surprise: torch runs a scripted module in one call, in which no use of a weight can be watched, no
weight replaced and no gradient caught. Its graph says what it does; this does the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from taut.networks.script_operators import Operator, operator_of

if TYPE_CHECKING:
    import torch

Values: TypeAlias = dict[str, Any]

_OWN: Final = ("prim::If", "prim::Loop", "prim::TupleUnpack", "prim::ListUnpack")


@dataclass(frozen=True)
class ScriptBlock:
    """Steps in order; `inputs` are the names of what it is given, `outputs` of what it gives."""

    inputs: tuple[str, ...]
    steps: tuple[ScriptStep, ...]
    outputs: tuple[str, ...]

    def run(self, values: Values) -> tuple[Any, ...]:
        """Carry the steps out; `values` has those of the inputs and of all that is outside."""
        for step in self.steps:
            step.run(values)
        return tuple(values[name] for name in self.outputs)


@dataclass(frozen=True)
class ScriptStep:
    """One node: `kind` says what it does, with `constant` its value, or the attribute's name.

    `dead` are values that no later step uses: they are let go, as torch's own interpreter does.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    does: Operator | None
    constant: Any
    blocks: tuple[ScriptBlock, ...]
    dead: tuple[str, ...] = ()

    def run(self, values: Values) -> None:
        """Put the node's outputs among the values."""
        found = self._found(values)
        values.update(zip(self.outputs, found, strict=True))
        for name in self.dead:
            values.pop(name, None)

    def _found(self, values: Values) -> Sequence[Any]:
        given = [values[name] for name in self.inputs]
        if self.does is not None:
            result = self.does(*given)
            return (result,) if len(self.outputs) == 1 else result if self.outputs else ()
        match self.kind:
            case "prim::Constant":
                return (self.constant,)
            case "prim::SetAttr":
                setattr(given[0], self.constant, given[1])
                return ()
            case "prim::If":
                return self.blocks[0 if given[0] else 1].run(values)
            case "prim::Loop":
                return self._loop(given, values)
        return tuple(given[0])  # a tuple or list unpacked

    def _loop(self, given: Sequence[Any], values: Values) -> Sequence[Any]:
        (trips, going, *carried), body = given, self.blocks[0]
        for number in range(trips):
            if not going:
                break
            values.update(zip(body.inputs, (number, *carried), strict=True))
            going, *carried = body.run(values)
        return carried


def block_of(graph: torch._C.Graph) -> ScriptBlock:
    """The steps of a graph in which all calls are inlined.

    Raises:
        LookupError: a node is of a kind that is not run here; its text is the kind.
    """
    found = _block(graph)
    return ScriptBlock(found.inputs, tuple(_letting_go(found)), found.outputs)


def attributes_of(block: ScriptBlock) -> set[str]:
    """The names of all attributes that the steps read or write."""
    found: set[str] = set()
    for step in block.steps:
        found |= {step.constant} if step.kind in ("prim::GetAttr", "prim::SetAttr") else set()
        found = found.union(*map(attributes_of, step.blocks))
    return found


def _block(block: Any) -> ScriptBlock:
    return ScriptBlock(
        tuple(one.debugName() for one in block.inputs()),
        tuple(_step(node) for node in block.nodes()),
        tuple(one.debugName() for one in block.outputs()),
    )


def _step(node: Any) -> ScriptStep:
    kind = node.kind()
    constant: Any = None
    does: Operator | None = None
    if kind == "prim::Constant":
        constant = node.output().toIValue()
        if constant is None and str(node.output().type()) != "NoneType":
            raise LookupError(f"a constant of type {node.output().type()}")
    elif kind == "prim::SetAttr":
        constant = node.s("name")
    elif kind == "prim::GetAttr":
        constant = node.s("name")
        does = attrgetter(constant)
    elif kind not in _OWN:
        does = _operator(kind, node)
    return ScriptStep(
        kind,
        tuple(one.debugName() for one in node.inputs()),
        tuple(one.debugName() for one in node.outputs()),
        does,
        constant,
        tuple(map(_block, node.blocks())),
    )


def _operator(kind: str, node: Any) -> Operator:
    try:
        return operator_of(kind, node.schema())
    except (LookupError, AttributeError, RuntimeError):
        raise LookupError(kind) from None


def _letting_go(block: ScriptBlock) -> Iterator[ScriptStep]:
    """The outermost steps, each with the values that it is the last to use."""
    kept, steps = {*block.outputs}, []
    for step in reversed(block.steps):
        used = {*_used(step)}
        dead = tuple(sorted((used | {*step.outputs}) - kept))
        kept |= used
        steps.append(replace(step, dead=dead))
    yield from reversed(steps)


def _used(step: ScriptStep) -> Iterator[str]:
    yield from step.inputs
    for block in step.blocks:
        yield from block.outputs
        for inner in block.steps:
            yield from _used(inner)
