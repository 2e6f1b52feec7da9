"""Scripted and traced modules as networks of plain modules: the same tensors, names and values.

TorchScript keeps a network's graph and its parameters, but not its Python code. The twin of a
scripted module has the same parts with the same parameters and buffers, and runs the graph operator
by operator; so all that works on a network works on it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from taut.errors import ArgumentError
from taut.networks.script_graph import ScriptBlock, attributes_of, block_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Program:
    """A forward: its steps, the names of its arguments, and the values of the optional ones."""

    block: ScriptBlock
    names: tuple[str, ...]
    defaults: Mapping[str, Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # nothing in it changes, and graphs of torch cannot be copied

    def run(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """What the forward gives with the module's tensors."""
        bound = _bound(self.names, self.defaults, args, kwargs)
        values = dict(zip(self.block.inputs, (module, *bound), strict=True))
        return self.block.run(values)[0]


def plain_twin(module: torch.jit.ScriptModule, memo: dict[int, Any]) -> None:
    """Put a network of copies of a scripted module's tensors, which gives what it gives, in `memo`.

    `memo` is that of a deep copy, by the ids of what is copied: what is shared stays shared.

    Raises:
        ArgumentError: it does what is not run here; the message names it.
    """
    block = _steps(module)
    _twin(module, memo, attributes_of(block), Program(block, *_signature(module)))


def _steps(module: torch.jit.ScriptModule) -> ScriptBlock:
    said = f"a torch.jit.{type(module).__name__} of {module.original_name}"
    try:
        graph = module.inlined_graph
    except RuntimeError:
        raise ArgumentError(f"{said} has no forward to run; pass the nn.Module itself") from None
    try:
        return block_of(graph)
    except LookupError as error:
        raise ArgumentError(
            f"{said} takes {error.args[0]}, which cannot be run operator by operator: pass the "
            "nn.Module that it was scripted or traced from"
        ) from None


@cache
def _kind() -> Any:
    import torch

    class Scripted(torch.nn.Module):
        """One part of a scripted module; the outermost has a program to run.

        `_listed` are lists of its parameters, by name: what takes a parameter's place is in them.
        """

        def __init__(self, name: str, program: Program | None) -> None:
            super().__init__()
            self._script = name, program
            self._listed: dict[str, list[str]] = {}

        def __getattr__(self, name: str) -> Any:
            parts = vars(self)["_listed"].get(name) if "_listed" in vars(self) else None
            if parts is None:
                return super().__getattr__(name)
            return [getattr(self, part) for part in parts]

        def _get_name(self) -> str:
            return str(self._script[0])

        def forward(self, *args: object, **kwargs: object) -> object:
            """What the scripted module's forward gives."""
            name, program = self._script
            if program is None:
                raise RuntimeError(f"{name} runs as a part of what holds it alone")
            return program.run(self, args, kwargs)

    return Scripted


def _twin(
    module: Any, memo: dict[int, Any], asked: Collection[str], program: Program | None = None
) -> Any:
    """The twin of one part, and of all in it; `asked` are the attributes that the graph takes."""
    found = memo[id(module)] = _kind()(module.original_name, program)
    for name, value in module._parameters.items():
        memo[id(value)] = _parameter(copy.deepcopy(value, memo))
        found.register_parameter(name, memo[id(value)])
    for name, value in module._buffers.items():
        found.register_buffer(name, copy.deepcopy(value, memo))
    for name, part in module._modules.items():
        inner = memo.get(id(part))
        found.add_module(name, _twin(part, memo, asked) if inner is None else inner)
    _give_attributes(found, module, asked, memo)
    found.training = bool(getattr(module, "training", False))
    return found


def _parameter(value: torch.Tensor | None) -> torch.nn.Parameter | None:
    """The same memory as a parameter: a program that was read from a file has plain tensors."""
    import torch

    if value is None or isinstance(value, torch.nn.Parameter):
        return value
    return torch.nn.Parameter(value.detach(), requires_grad=value.requires_grad)


def _give_attributes(twin: Any, module: Any, asked: Collection[str], memo: dict[int, Any]) -> None:
    """What the graph takes beside tensors, parts and the mode; lists of parameters by name."""
    kinds = (module._parameters, module._buffers, module._modules)
    held = {"training"}.union(*(kind.keys() for kind in kinds))
    names = {id(value): name for name, value in module._parameters.items()}
    for name in {*asked} - held:
        if not hasattr(module, name):
            continue
        value = getattr(module, name)
        if isinstance(value, list) and value and all(id(one) in names for one in value):
            twin._listed[name] = [names[id(one)] for one in value]
        else:
            setattr(twin, name, copy.deepcopy(value, memo))


def _signature(module: torch.jit.ScriptModule) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The names of forward's arguments in order, without self, and the values of the optional."""
    arguments = module._c._get_method("forward").schema.arguments[1:]
    told = {one.name: one.default_value for one in arguments if one.has_default_value()}
    return tuple(one.name for one in arguments), told


def _bound(
    names: tuple[str, ...],
    defaults: Mapping[str, Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> list[object]:
    """Arguments in the order of the names.

    Raises:
        TypeError: there are more than names, one is unknown or given twice, or one is missing.
    """
    if len(args) > len(names):
        raise TypeError(f"forward() takes {len(names)} arguments but {len(args)} were given")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(given) < len(args) + len(kwargs) or not {*given} <= {*names}:
        raise TypeError(f"forward() takes {', '.join(names)}, each once; not {', '.join(kwargs)}")
    missing = [name for name in names if name not in given and name not in defaults]
    if missing:
        raise TypeError(f"forward() lacks {', '.join(missing)}")
    return [given.get(name, defaults.get(name)) for name in names]
