"""Whether a network that lost channels computes what the whole one does without them.

A channel that nobody reads is as good as gone: so the whole network, with the weights that read
the channels set to zero and its norms taken over the others, must give what the small one gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from taut.networks.calls import applied
from taut.networks.copies import copy_module
from taut.transform.channel_group import ChannelGroup, Member
from taut.transform.channels_graph import tensors

if TYPE_CHECKING:
    import torch

_CLOSE: Final = {"float64": 1e-7, "float32": 1e-3}  # of the largest output, for rounding


def same_without(
    whole: torch.nn.Module,
    small: torch.nn.Module,
    example: object,
    groups: Mapping[str, ChannelGroup],
    chosen: Mapping[str, Sequence[int]],
) -> str | None:
    """None, or what tells `small` from `whole` without the units `chosen` of `groups`.

    Both are run on copies, in float64 where they can be.
    """
    import torch

    said = None
    for dtype in (torch.float64, torch.float32):
        masked, lean = (copy_module(one).eval().to(dtype) for one in (whole, small))
        inputs = _cast(example, dtype)
        try:
            with torch.no_grad():
                _mask(masked, groups, chosen)
                wanted = list(tensors(applied(masked, inputs)))
                found = list(tensors(applied(lean, inputs)))
        except Exception as error:  # a model may raise anything
            said = f"it fails: {type(error).__name__}: {error}"
        else:
            return _differ(wanted, found, _CLOSE[str(dtype).removeprefix("torch.")])
    return said


def _differ(
    wanted: Sequence[torch.Tensor], found: Sequence[torch.Tensor], close: float
) -> str | None:
    if [one.shape for one in wanted] != [one.shape for one in found]:
        return "its outputs have other shapes"
    for one, other in zip(wanted, found, strict=True):
        bound = close * (float(one.abs().max()) if one.numel() else 0.0)
        if one.numel() and not float((one - other).abs().max()) <= bound:
            return "it computes something else than the whole model without these channels"
    return None


def _cast(value: object, dtype: torch.dtype) -> object:
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {name: _cast(part, dtype) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_cast(part, dtype) for part in value)
    return value


def _mask(
    module: torch.nn.Module,
    groups: Mapping[str, ChannelGroup],
    chosen: Mapping[str, Sequence[int]],
) -> None:
    """Let nobody read the chosen channels; the module is changed."""
    parts = dict(module.named_modules())
    for name, units in chosen.items():
        gone = {i for unit in units for i in groups[name].units[unit]}
        for member in groups[name].members:
            pairs = zip(member.index, member.root, strict=True)
            index = sorted({i for i, root in pairs if root in gone})
            if index and member.name in parts:
                _unread(parts[member.name], member, index)


def _unread(layer: torch.nn.Module, member: Member, index: list[int]) -> None:
    from torch import nn

    if isinstance(layer, nn.modules.conv._ConvNd) and member.side == "in":
        size = layer.in_channels // layer.groups
        if layer.transposed:
            layer.weight[index] = 0
        else:
            layer.weight[:, sorted({i % size for i in index})] = 0
    elif isinstance(layer, nn.Linear) and member.side == "in":
        layer.weight[:, index] = 0
    elif isinstance(layer, nn.MultiheadAttention):
        layer.in_proj_weight[:, index] = 0
        layer.out_proj.weight[:, index] = 0
    elif isinstance(layer, (nn.LayerNorm, nn.GroupNorm)):
        layer.register_forward_hook(_over_others(layer, index))


def _over_others(
    layer: torch.nn.LayerNorm | torch.nn.GroupNorm, gone: list[int]
) -> Callable[..., object]:
    """A hook that makes a norm one of the channels that are left; the others become zero."""
    from torch import nn
    from torch.nn import functional

    normal = isinstance(layer, nn.LayerNorm)
    width = layer.normalized_shape[-1] if isinstance(layer, nn.LayerNorm) else layer.num_channels
    left = sorted(set(range(int(width))) - set(gone))

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> object:
        axis = -1 if normal else 1
        values = inputs[0].movedim(axis, -1)[..., left].movedim(-1, axis)
        weight, bias = (None if p is None else p[left] for p in (layer.weight, layer.bias))
        if isinstance(layer, nn.LayerNorm):
            made = functional.layer_norm(values, (len(left),), weight, bias, layer.eps)
        else:
            made = functional.group_norm(values, layer.num_groups, weight, bias, layer.eps)
        result = output.new_zeros(output.shape).movedim(axis, -1)
        result[..., left] = made.movedim(axis, -1)
        return result.movedim(-1, axis)

    return hook
