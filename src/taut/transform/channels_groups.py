"""Which channels of a network hang together, so that they can only be removed together.

A convolution's output channel is an input channel of every layer that reads it, and a residual
sum ties the outputs of all layers it adds. Such groups are followed along the traced graph
(DepGraph, Fang et al. 2023, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import lcm
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from taut.transform.channel_group import ChannelGroup, Member, Side, Units
from taut.transform.channels_graph import HEAD_COUNTS, Graph

if TYPE_CHECKING:
    import torch

_HEAD_SIZES: Final = ("attention_head_size", "head_dim", "key_value_proj_dim", "dim_per_head")


class _Index(NamedTuple):
    """A channel of a layer, and the channel of the group's first layer that it goes with."""

    idx: int
    root_idx: int


class _Whole(Exception):  # noqa: N818 - no error: a layer that stays as it is
    """Why a group cannot lose channels."""


def find_groups(
    graph: Graph, ignore: Collection[str] = ()
) -> tuple[dict[str, ChannelGroup], dict[str, str]]:
    """The groups by their first layer, and of those that must stay whole the reason.

    That of a model's output does, and one with an output of a layer named in `ignore`.
    """
    from torch import nn

    names = {part: name for name, part in graph.module.named_modules()}
    groups: dict[str, ChannelGroup] = {}
    kept: dict[str, str] = {}
    seen: set[int] = set()
    layers = (nn.modules.conv._ConvNd, nn.Linear)
    roots = [one for one in graph.traced.module2node.values() if isinstance(one.module, layers)]
    if (
        graph.padded
    ):  # what padding makes wider has channels that the narrower layer knows nothing of
        roots.sort(key=graph.traced.get_out_channels)
    for node in roots:
        layer = node.module
        if id(node) not in seen:
            try:
                members = _members(graph, node, _reach(graph, node, seen), names, ignore)
                groups[names[layer]] = _group(graph, names[layer], members)
            except _Whole as reason:
                kept[names[layer]] = str(reason)
    return groups, kept


def _reach(
    graph: Graph, root: Any, seen: set[int]
) -> dict[tuple[int, Any], tuple[Any, set[_Index]]]:
    """All that loses channels if the outputs of `root` go: nodes and their sides, with indices.

    Only indices that are new at a node go on from it, and none may pass the width of all layers
    together: where the graph was misread they can grow for ever.
    """
    first = graph.traced.get_pruner_of_module(root.module).prune_out_channels
    width = graph.traced.get_out_channels(root)
    bound = sum(sum(one.shape) for one in graph.module.parameters())
    start = {_Index(i, i) for i in range(width)}
    found: dict[tuple[int, Any], tuple[Any, set[_Index]]] = {(id(root), first): (root, start)}
    work = [(root, first, start)]
    while work:
        node, handler, new = work.pop()
        if handler == graph.traced.get_pruner_of_module(node.module).prune_out_channels:
            seen.add(id(node))
        for dep in node.dependencies:
            if not dep.is_triggered_by(handler):
                continue
            passed: Any = list(new)
            for mapping in dep.index_mapping:
                passed = passed if mapping is None else mapping(passed)
            made = {_Index(one.idx, one.root_idx) for one in passed}
            if any(one.root_idx is None or not 0 <= one.idx < bound for one in made):
                raise _Whole("its channels are shared in a way that cannot be followed")
            _, known = found.setdefault((id(dep.target), dep.handler), (dep.target, set()))
            fresh = made - known
            if fresh:
                known |= fresh
                work.append((dep.target, dep.handler, fresh))
    return found


def _members(
    graph: Graph,
    root: Any,
    found: Mapping[tuple[int, Any], tuple[Any, set[_Index]]],
    names: Mapping[Any, str],
    ignore: Collection[str],
) -> list[Member]:
    """The layers and parameters among what was reached, the first one first."""
    members = []
    for (_, handler), (node, indices) in found.items():
        side, pairs = _side(graph, node, handler), sorted(indices)
        if not pairs:
            continue
        if id(node) in graph.last and side != "in":
            raise _Whole("its channels are the model's output")
        name = names.get(node.module) or graph.traced._param_to_name.get(node.module)
        if name is None:  # an operation
            continue
        if name in ignore and side != "in":
            raise _Whole(f'"{name}" is to be ignored')
        if node.type.name == "LSTM":
            raise _Whole(f'"{name}" is an LSTM, which is not supported')
        if len({one.idx for one in pairs}) < len(pairs):
            raise _Whole(f'"{name}" has one channel for several')
        index, roots = tuple(one.idx for one in pairs), tuple(one.root_idx for one in pairs)
        members.append(Member(name, side, index, roots, node.pruning_dim))
    return members


def _side(graph: Graph, node: Any, handler: Any) -> Side:
    pruner = graph.traced.get_pruner_of_module(node.module)
    if pruner.prune_out_channels == pruner.prune_in_channels:
        return "both"
    return "out" if handler == pruner.prune_out_channels else "in"


def _group(graph: Graph, name: str, members: Sequence[Member]) -> ChannelGroup:
    parts = dict(graph.module.named_modules())
    units, heads = _units(len(members[0].index), members, parts)
    if len(units) < 2:
        raise _Whole("it has only one channel, head or set of channels that go together")
    return ChannelGroup(name, units, tuple(members), heads)


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
        grouped = max(groups, size) > 1
        whole = grouped and member.index == member.root == tuple(range(_width(member, parts)))
        if grouped and not whole:
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


def _width(member: Member, parts: Mapping[str, torch.nn.Module]) -> int:
    """All channels of a member's side."""
    from torch import nn

    layer = parts[member.name]
    if isinstance(layer, nn.modules.conv._ConvNd):
        return int(layer.in_channels if member.side == "in" else layer.out_channels)
    if isinstance(layer, nn.GroupNorm):
        return int(layer.num_channels)
    if isinstance(layer, nn.MultiheadAttention):
        return int(layer.embed_dim)
    assert isinstance(layer, nn.Linear)
    return int(layer.in_features if member.side == "in" else layer.out_features)


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
    count = next((has[name] for name in HEAD_COUNTS if type(has.get(name)) is int), None)
    if size is None and count and features % count == 0:
        size = features // count
    if size is None or size < 1 or features % size:
        return None
    return int(size)
