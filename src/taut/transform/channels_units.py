"""Which channels of a group go together as a unit: those of each layer's groups, or a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING, Final

from taut.transform.channel_group import Member, Units
from taut.transform.channels_graph import HEAD_COUNTS

if TYPE_CHECKING:
    import torch

_HEAD_SIZES: Final = ("attention_head_size", "head_dim", "key_value_proj_dim", "dim_per_head")


class StaysWhole(Exception):  # noqa: N818 - no error: a layer that stays as it is
    """Why a group cannot lose channels."""


@dataclass(frozen=True)
class _Tie:
    """What binds channels of a member: its `groups`, or the heads of `head` channels each."""

    groups: int = 1
    head: int = 1
    attention: str | None = None


def units_of(
    channels: int, members: Sequence[Member], parts: Mapping[str, torch.nn.Module]
) -> tuple[Units, tuple[str, ...]]:
    """The sets of channels that go together, and the attention modules of which they are heads.

    Raises:
        StaysWhole: they cannot be told apart.
    """
    sets, sizes = 1, 1
    heads: list[str] = []
    attentions = _attentions(members, parts)
    for member in members:
        tie = _tied(member, parts, attentions)
        if max(tie.groups, tie.head) > 1 and not _is_whole(member, parts):
            raise StaysWhole(f'"{member.name}" groups these channels with others')
        sets, sizes = lcm(sets, tie.groups), lcm(sizes, tie.head)
        if tie.attention is not None and tie.attention not in heads:
            heads.append(tie.attention)
            if sizes != tie.head:
                raise StaysWhole(
                    f'"{tie.attention}" has heads of another size than those it is tied to'
                )
    return _cut(channels, sets, sizes if heads else None), tuple(heads)


def _cut(channels: int, sets: int, head: int | None) -> Units:
    """Channels as units that go as a whole.

    A convolution or norm in G groups must lose as many channels of each, so that a unit has one of
    each; a head goes as a whole, for the scale of its scores is that of its size.
    """
    if (head is not None and sets > 1) or channels % sets or channels % (head or 1):
        raise StaysWhole("the groups of the layers in it do not divide each other")
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
        raise StaysWhole(f'"{name}" has keys or values of a width of their own')
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
