"""Which channels of a network hang together, so that they can only be removed together.

A convolution's output channel is an input channel of every layer that reads it, and a residual
sum ties the outputs of all layers it adds. Such groups are followed along the traced graph
(DepGraph, Fang et al. 2023, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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
            _, known = found.setdefault((id(dep.target), dep.handler), (dep.target, set()))
            fresh = _passed(dep, new, bound) - known
            if fresh:
                known |= fresh
                work.append((dep.target, dep.handler, fresh))
    return found


def _passed(dep: Any, indices: set[_Index], bound: int) -> set[_Index]:
    """The channels as they are numbered where a dependency leads to."""
    passed: Any = list(indices)
    for mapping in dep.index_mapping:
        passed = passed if mapping is None else mapping(passed)
    made = {_Index(one.idx, one.root_idx) for one in passed}
    if any(one.root_idx is None or not 0 <= one.idx < bound for one in made):
        raise _Whole("its channels are shared in a way that cannot be followed")
    return made


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
        members.append(_member(name, side, node, pairs))
    return members


def _member(name: str, side: Side, node: Any, pairs: Sequence[_Index]) -> Member:
    if node.type.name == "LSTM":
        raise _Whole(f'"{name}" is an LSTM, which is not supported')
    index, roots = zip(*pairs, strict=True)
    if len(set(index)) < len(index):
        raise _Whole(f'"{name}" has one channel for several')
    return Member(name, side, index, roots, node.pruning_dim)


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


@dataclass(frozen=True)
class _Tie:
    """What binds channels of a member: its `groups`, or the heads of `head` channels each."""

    groups: int = 1
    head: int = 1
    attention: str | None = None


def _units(
    channels: int, members: Sequence[Member], parts: Mapping[str, torch.nn.Module]
) -> tuple[Units, tuple[str, ...]]:
    """The sets of channels that go together, and the attention modules of which they are heads."""
    sets, sizes = 1, 1
    heads: list[str] = []
    attentions = _attentions(members, parts)
    for member in members:
        tie = _tied(member, parts, attentions)
        if max(tie.groups, tie.head) > 1 and not _is_whole(member, parts):
            raise _Whole(f'"{member.name}" groups these channels with others')
        sets, sizes = lcm(sets, tie.groups), lcm(sizes, tie.head)
        if tie.attention is not None and tie.attention not in heads:
            heads.append(tie.attention)
            if sizes != tie.head:
                raise _Whole(
                    f'"{tie.attention}" has heads of another size than those it is tied to'
                )
    return _cut(channels, sets, sizes if heads else None), tuple(heads)


def _cut(channels: int, sets: int, head: int | None) -> Units:
    """Channels as units that go as a whole.

    A convolution or norm in G groups must lose as many channels of each, so that a unit has one of
    each; a head goes as a whole, for the scale of its scores is that of its size.
    """
    if (head is not None and sets > 1) or channels % sets or channels % (head or 1):
        raise _Whole("the groups of the layers in it do not divide each other")
    if head is not None:
        return tuple(tuple(range(i, i + head)) for i in range(0, channels, head))
    step = channels // sets
    return tuple(tuple(range(i, channels, step)) for i in range(step))


def _is_whole(member: Member, parts: Mapping[str, torch.nn.Module]) -> bool:
    """Whether all channels of the member's side are the group's, in its order."""
    return member.index == member.root == tuple(range(_width(member, parts)))


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


def _tied(member: Member, parts: Mapping[str, torch.nn.Module], attentions: set[str]) -> _Tie:
    from torch import nn

    layer, parent = parts.get(member.name), member.name.rpartition(".")[0]
    if isinstance(layer, nn.modules.conv._ConvNd):
        return _Tie() if member.side == "both" else _Tie(groups=layer.groups)
    if isinstance(layer, nn.GroupNorm):
        return _Tie(groups=layer.num_groups)
    if isinstance(layer, nn.MultiheadAttention):
        return _tied_inside(layer, member.name)
    if isinstance(layer, nn.Linear) and member.side == "out" and parent in attentions:
        size = _head_size(parts[parent], layer.out_features)
        return _Tie(head=size, attention=parent) if size else _Tie()
    return _Tie()


def _tied_inside(layer: torch.nn.MultiheadAttention, name: str) -> _Tie:
    """The heads of an attention that makes queries, keys and values itself."""
    if not layer._qkv_same_embed_dim or layer.bias_k is not None:
        raise _Whole(f'"{name}" has keys or values of a width of their own')
    return _Tie(head=layer.head_dim, attention=name)


def _head_size(attention: torch.nn.Module, features: int) -> int | None:
    """The features of a head, if a module has heads and one of its layers makes all of them."""
    size, count = _number(attention, _HEAD_SIZES), _number(attention, HEAD_COUNTS)
    if size is None and count and features % count == 0:
        size = features // count
    return None if size is None or size < 1 or features % size else size


def _number(module: torch.nn.Module, names: Sequence[str]) -> int | None:
    """The first of these attributes that is a whole number."""
    has = vars(module)
    return next((has[name] for name in names if type(has.get(name)) is int), None)
