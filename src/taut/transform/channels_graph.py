"""The traced graph of a network, and how channels are taken out of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.calls import applied
from taut.transform.channel_group import ChannelGroup

if TYPE_CHECKING:
    import torch

HEAD_COUNTS: Final = (
    "num_heads", "num_attention_heads", "n_heads", "n_head", "num_key_value_heads"
)  # fmt: skip
_HEAD_TOTALS: Final = ("all_head_size", "inner_dim")  # heads times their size


@dataclass(frozen=True)
class Graph:
    """A network traced by torch-pruning (DepGraph, Fang et al. 2023).

    `last` are the ids of the nodes that make the network's outputs. `padded`: some maps get more
    channels by padding.
    """

    module: torch.nn.Module
    traced: Any
    last: frozenset[int]
    padded: bool

    def remove(
        self, groups: Mapping[str, ChannelGroup], chosen: Mapping[str, Sequence[int]]
    ) -> None:
        """Take units, by group, out of the module, which is changed."""
        import torch

        parts = dict(self.module.named_modules())
        with torch.no_grad():
            for name, units in chosen.items():
                if not units:
                    continue
                group, layer = groups[name], parts[name]
                index = sorted(i for unit in units for i in group.units[unit])
                prune = self.traced.get_pruner_of_module(layer).prune_out_channels
                self.traced.get_pruning_group(layer, prune, index).prune(record_history=False)
                for attention in group.heads:
                    _count_heads(parts[attention], len(units), group)


def trace(module: torch.nn.Module, example: object) -> Graph:
    """Trace a module, which `Graph.remove` will change, by running `example`.

    Raises:
        ArgumentError: torch-pruning is not installed, or the module cannot be traced.
    """
    import torch

    pruning = need_pruning()
    outputs: list[torch.Tensor] = []

    def watched(output: object) -> list[torch.Tensor]:
        outputs.extend(one for one in tensors(output) if one.grad_fn is not None)
        return outputs

    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            traced = pruning.DependencyGraph().build_dependency(
                module, example, forward_fn=applied, output_transform=watched, verbose=False
            )
    except ArgumentError:
        raise
    except Exception as error:  # a model may raise anything, and so may its tracing
        said = f"{type(error).__name__}: {error}"
        raise ArgumentError(f"channels: the model cannot be traced: {said}") from error
    padded = _follow_padding(traced)
    ends = {one.grad_fn for one in outputs}
    nodes = traced.module2node.values()
    last = {id(one) for one in nodes if one.grad_fn in ends or one.type.name == "OUTPUT"}
    return Graph(module, traced, frozenset(last), padded)


def _follow_padding(traced: Any) -> bool:
    """Map channels across the padding of maps with more of them: option A of He et al. 2016.

    Gives whether there is any.
    """
    padded = False
    for node in traced.module2node.values():
        pad: Sequence[int] = getattr(node.grad_fn, "_saved_pad", [])
        if len(pad) != 6 or not pad[4]:  # from the last axis on, so that channels come third
            continue
        padded = True
        for before in node.inputs:
            for source, target, shift in ((before, node, pad[4]), (node, before, -pad[4])):
                for dep in source.dependencies:
                    if dep.target is target:
                        dep.index_mapping[0] = _Shift(shift)
    return padded


@dataclass(frozen=True)
class _Shift:
    """Moves channels by a number of places; those before the first are none."""

    places: int

    def __call__(self, indices: list[Any]) -> list[Any]:
        moved = [one._replace(idx=one.idx + self.places) for one in indices]
        return [one for one in moved if one.idx >= 0]


def tensors(output: object) -> Iterator[torch.Tensor]:
    """The tensors of floats that an output holds, in order."""
    import torch

    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield output
        return
    if is_dataclass(output) and not isinstance(output, (Mapping, type)):
        output = [getattr(output, one.name, None) for one in fields(output)]
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, (Mapping, tuple, list)):
        for part in parts:  # type: ignore[attr-defined]
            yield from tensors(part)


def need_pruning() -> Any:
    """The package torch-pruning.

    Raises:
        ArgumentError: it is not installed.
    """
    return need_extra("torch_pruning", "prune", "removing channels takes")


def _count_heads(attention: torch.nn.Module, removed: int, group: ChannelGroup) -> None:
    """Tell an attention module that it has fewer heads."""
    from torch import nn

    left = len(group.units) - removed
    if isinstance(attention, nn.MultiheadAttention):
        attention.num_heads, attention.head_dim = left, group.unit
        return
    for name, value in list(vars(attention).items()):
        if name in HEAD_COUNTS and value == len(group.units):
            setattr(attention, name, left)
        if name in _HEAD_TOTALS and value == group.channels:
            setattr(attention, name, left * group.unit)
