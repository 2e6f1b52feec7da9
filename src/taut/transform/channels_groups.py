"""Which channels of a network hang together, so that they can only be removed together.

A convolution's output channel is an input channel of every layer that reads it, and a residual
sum ties the outputs of all layers it adds. Such groups are followed along the traced graph
(DepGraph, Fang et al. 2023, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from taut.transform.channel_group import ChannelGroup, Member, Side
from taut.transform.channels_graph import Graph
from taut.transform.channels_units import StaysWhole, units_of


class _Index(NamedTuple):
    """A channel of a layer, and the channel of the group's first layer that it goes with."""

    idx: int
    root_idx: int


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
            except StaysWhole as reason:
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
        try:
            passed = passed if mapping is None else mapping(passed)
        except IndexError:  # torch-pruning's, beyond operations that it knows nothing of (a GRU)
            raise StaysWhole("its channels go on in a way that cannot be followed") from None
    made = {_Index(one.idx, one.root_idx) for one in passed}
    if any(one.root_idx is None or not 0 <= one.idx < bound for one in made):
        raise StaysWhole("its channels are shared in a way that cannot be followed")
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
            raise StaysWhole("its channels are the model's output")
        name = names.get(node.module) or graph.traced._param_to_name.get(node.module)
        if name is None:  # an operation
            continue
        if name in ignore and side != "in":
            raise StaysWhole(f'"{name}" is to be ignored')
        members.append(_member(name, side, node, pairs))
    return members


def _member(name: str, side: Side, node: Any, pairs: Sequence[_Index]) -> Member:
    if node.type.name == "LSTM":
        raise StaysWhole(f'"{name}" is an LSTM, which is not supported')
    index, roots = zip(*pairs, strict=True)
    if len(set(index)) < len(index):
        raise StaysWhole(f'"{name}" has one channel for several')
    return Member(name, side, index, roots, node.pruning_dim)


def _side(graph: Graph, node: Any, handler: Any) -> Side:
    pruner = graph.traced.get_pruner_of_module(node.module)
    if pruner.prune_out_channels == pruner.prune_in_channels:
        return "both"
    return "out" if handler == pruner.prune_out_channels else "in"


def _group(graph: Graph, name: str, members: Sequence[Member]) -> ChannelGroup:
    parts = dict(graph.module.named_modules())
    units, heads = units_of(len(members[0].index), members, parts)
    if len(units) < 2:
        raise StaysWhole("it has only one channel, head or set of channels that go together")
    return ChannelGroup(name, units, tuple(members), heads)
