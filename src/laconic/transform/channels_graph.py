"""Which channels of a network hang together, so that they can only be removed together.

A convolution's output channel is an input channel of every layer that reads it, and a residual
sum ties the outputs of all layers it adds: such groups are found along the traced graph
(DepGraph, Fang et al. 2023), by torch-pruning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from math import lcm
from typing import TYPE_CHECKING, Any, Final, Literal

from laconic.analyze._module import applied
from laconic.errors import ArgumentError

if TYPE_CHECKING:
    import torch

Units = tuple[tuple[int, ...], ...]

_HEAD_COUNTS: Final = (
    "num_heads", "num_attention_heads", "n_heads", "n_head", "num_key_value_heads"
)  # fmt: skip
_HEAD_SIZES: Final = ("attention_head_size", "head_dim", "key_value_proj_dim", "dim_per_head")
_HEAD_TOTALS: Final = ("all_head_size", "inner_dim")  # the product of both


@dataclass(frozen=True)
class Member:
    """A layer's side that loses `index` of its channels where the group loses `root` of its own.

    `side` "both" is a layer whose outputs are its inputs, channel by channel. `axis` is that of a
    plain parameter.
    """

    name: str
    side: Literal["out", "in", "both"]
    index: tuple[int, ...]
    root: tuple[int, ...]
    axis: int = -1


@dataclass(frozen=True)
class Group:
    """Channels of the layer `name` that can go; each of `units` goes as a whole.

    `heads` are the attention modules of which a unit is a head.
    """

    name: str
    units: Units
    members: tuple[Member, ...]
    heads: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """How many there are."""
        return sum(map(len, self.units))

    @property
    def unit(self) -> int:
        """The channels of a unit."""
        return len(self.units[0])


@dataclass
class Graph:
    """A network with its groups; `kept` says of the others why they must stay whole."""

    module: torch.nn.Module
    groups: dict[str, Group]
    kept: dict[str, str]
    _traced: Any = field(repr=False)

    def remove(self, chosen: Mapping[str, Sequence[int]]) -> None:
        """Take units, by group, out of the module, which is changed."""
        import torch

        parts = dict(self.module.named_modules())
        with torch.no_grad():
            for name, units in chosen.items():
                if not units:
                    continue
                group, layer = self.groups[name], parts[name]
                index = sorted(i for unit in units for i in group.units[unit])
                pruner = self._traced.get_pruner_of_module(layer)
                self._traced.get_pruning_group(layer, pruner.prune_out_channels, index).prune(
                    record_history=False
                )
                for attention in group.heads:
                    _count_heads(parts[attention], len(units), group)


def trace(module: torch.nn.Module, example: object, ignore: Sequence[str] = ()) -> Graph:
    """Find the groups of a module (which `Graph.remove` will change) by running `example`.

    Outputs, and layers named in `ignore`, are never part of a group.

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
    graph = Graph(module, {}, {}, traced)
    _find(graph, {one.grad_fn for one in outputs}, set(ignore))
    return graph


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
    try:
        import torch_pruning
    except ImportError:
        raise ArgumentError(
            "removing channels takes torch-pruning: pip install 'laconic[prune]'"
        ) from None
    return torch_pruning


def _find(graph: Graph, outputs: set[Any], ignore: set[str]) -> None:
    names = {part: name for name, part in graph.module.named_modules()}
    nodes = graph._traced.module2node.values()
    last = {id(node) for node in nodes if node.grad_fn in outputs or node.type.name == "OUTPUT"}
    for found in graph._traced.get_all_groups():
        name = names[found[0].dep.target.module]
        try:
            graph.groups[name] = _group(graph, name, found, names, last, ignore)
        except _Whole as reason:
            graph.kept[name] = str(reason)


class _Whole(Exception):  # noqa: N818 - no error: a layer that stays as it is
    """Why a group cannot lose channels."""


def _group(
    graph: Graph, name: str, found: Any, names: Mapping[Any, str], last: set[int], ignore: set[str]
) -> Group:
    members = []
    for item in found:
        dep, index, root = item.dep, tuple(item.idxs), tuple(item.root_idxs)
        side = _side(graph, dep)
        if id(dep.target) in last and side != "in":
            raise _Whole("its channels are the model's output")
        layer = dep.target.module
        called = names.get(layer) or graph._traced._param_to_name.get(layer)
        if called is None:  # an operation
            continue
        if called in ignore and side != "in":
            raise _Whole(f'"{called}" is to be ignored')
        if None in root or dep.target.type.name == "LSTM":
            raise _Whole(f'"{called}" shares channels in a way that is not supported')
        members.append(Member(called, side, index, root, dep.target.pruning_dim))
    channels = len(found[0].idxs)
    parts = dict(graph.module.named_modules())
    units, heads = _units(channels, members, parts)
    if len(units) < 2:
        raise _Whole("it has only one channel, head or set of channels that go together")
    return Group(name, units, tuple(members), heads)


def _side(graph: Graph, dep: Any) -> Literal["out", "in", "both"]:
    pruner = graph._traced.get_pruner_of_module(dep.target.module)
    if pruner.prune_out_channels == pruner.prune_in_channels:
        return "both"
    return "out" if dep.handler == pruner.prune_out_channels else "in"


def _units(
    channels: int, members: Sequence[Member], parts: Mapping[str, torch.nn.Module]
) -> tuple[Units, tuple[str, ...]]:
    """The sets of channels that go together, and the attention modules of which they are heads.

    A convolution or norm in G groups must lose as many channels of each, so that a unit has one of
    each; a head goes as a whole, for the scale of its scores is that of its size.
    """
    sets, sizes = 1, 1
    heads: list[str] = []
    attentions = _attentions(members, parts)
    for member in members:
        groups, size, attention = _tied(member, parts, attentions)
        if max(groups, size) > 1 and member.index != tuple(range(channels)):
            raise _Whole(f'"{member.name}" groups these channels with others')
        sets, sizes = lcm(sets, groups), lcm(sizes, size)
        if attention is not None and attention not in heads:
            heads.append(attention)
            if sizes != size:
                raise _Whole(f'"{attention}" has heads of another size than those it is tied to')
    if (heads and sets > 1) or channels % sets or channels % sizes:
        raise _Whole("the groups of the layers in it do not divide each other")
    if heads:
        units = (tuple(range(i, i + sizes)) for i in range(0, channels, sizes))
    else:
        step = channels // sets
        units = (tuple(range(i, channels, step)) for i in range(step))
    return tuple(units), tuple(heads)


def _attentions(members: Sequence[Member], parts: Mapping[str, torch.nn.Module]) -> set[str]:
    """The modules that make queries, keys and values in this group: three layers of one parent."""
    from torch import nn

    made = [m.name for m in members if m.side == "out" and isinstance(parts.get(m.name), nn.Linear)]
    parents = [name.rpartition(".")[0] for name in made]
    return {parent for parent in parents if parents.count(parent) >= 3}


def _tied(
    member: Member, parts: Mapping[str, torch.nn.Module], attentions: set[str]
) -> tuple[int, int, str | None]:
    """Groups, head size and attention module of a member: 1, 1 and None where there are none."""
    from torch import nn

    layer, parent = parts.get(member.name), member.name.rpartition(".")[0]
    if isinstance(layer, nn.modules.conv._ConvNd):
        return (1 if member.side == "both" else layer.groups), 1, None
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups, 1, None
    if isinstance(layer, nn.MultiheadAttention):
        if not layer._qkv_same_embed_dim or layer.bias_k is not None:
            raise _Whole(f'"{member.name}" has keys or values of a width of their own')
        return 1, layer.head_dim, member.name
    if isinstance(layer, nn.Linear) and member.side == "out" and parent in attentions:
        size = _head_size(parts[parent], layer.out_features)
        return (1, size, parent) if size else (1, 1, None)
    return 1, 1, None


def _head_size(attention: torch.nn.Module, features: int) -> int | None:
    """The features of a head, if a module has heads and one of its layers makes all of them."""
    has = vars(attention)
    size = next((has[name] for name in _HEAD_SIZES if type(has.get(name)) is int), None)
    count = next((has[name] for name in _HEAD_COUNTS if type(has.get(name)) is int), None)
    if size is None and count and features % count == 0:
        size = features // count
    if size is None or size < 1 or features % size:
        return None
    return int(size)


def _count_heads(attention: torch.nn.Module, removed: int, group: Group) -> None:
    """Tell an attention module that it has fewer heads."""
    from torch import nn

    left = len(group.units) - removed
    if isinstance(attention, nn.MultiheadAttention):
        attention.num_heads, attention.head_dim = left, group.unit
        return
    for name, value in list(vars(attention).items()):
        if name in _HEAD_COUNTS and value == len(group.units):
            setattr(attention, name, left)
        if name in _HEAD_TOTALS and value == group.channels:
            setattr(attention, name, left * group.unit)
