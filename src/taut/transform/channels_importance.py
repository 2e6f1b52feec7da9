"""How much a network would miss each of its channels.

Magnitude: the L2 norm of all weights that go with the channel, over the group's mean (group
magnitude, Fang et al. 2023). With the slope s, the sum of w dL/dw over the weights that read the
channel, which is the loss's slope as all of them go to zero together: Taylor is |s|, the change of
first order (Molchanov et al. 2019, eq. 8); curvature is s^2 / 2, that of second order by the
empirical Fisher (Theis et al. 2018, eq. 8). Both are means over batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.networks.calls import explained, run
from taut.networks.outputs import Loss
from taut.transform.channel_group import ChannelGroup, Member
from taut.transform.settings import Importance

if TYPE_CHECKING:
    import torch

Scores = dict[str, "torch.Tensor"]  # by group, float64 (units,)
_Of = Callable[["torch.Tensor"], "torch.Tensor"]


def measure(
    module: torch.nn.Module,
    groups: Mapping[str, ChannelGroup],
    importance: Importance,
    batches: Iterable[object] | None,
    loss: Loss | None,
) -> Scores:
    """The importance of every unit of every group; what the loss depends on is left as it was.

    Raises:
        ArgumentError: the loss or the model fails on a batch, or there is none.
    """
    if importance == "magnitude":
        return {name: _magnitude(module, group) for name, group in groups.items()}
    if batches is None or loss is None:
        raise ArgumentError(f'importance "{importance}" takes batches and loss(output, batch)')
    return _by_gradient(module, groups, importance, batches, loss)


def _magnitude(module: torch.nn.Module, group: ChannelGroup) -> torch.Tensor:
    import torch

    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in group.members:
        total += _summed(module, member, group, lambda p: p.detach().double().square())
    units = _by_unit(total, group).sqrt()
    return units / units.mean().clamp_min(1e-30)


def _by_gradient(
    module: torch.nn.Module,
    groups: Mapping[str, ChannelGroup],
    importance: Importance,
    batches: Iterable[object],
    loss: Loss,
) -> Scores:
    import torch

    zeros = {name: len(group.units) for name, group in groups.items()}
    scores = {name: torch.zeros(n, dtype=torch.float64) for name, n in zeros.items()}
    count = 0
    for count, batch in enumerate(batches, 1):
        where = f"channels, batch {count}"
        module.zero_grad()
        with torch.enable_grad():
            value = _mean_loss(loss, run(module, batch, where), batch, where)
            with explained(f"{where}: the model's backward pass failed", batch):
                value.backward()  # type: ignore[no-untyped-call]
        for name, group in groups.items():
            slope = _change(module, group)
            scores[name] += slope.abs() if importance == "taylor" else slope.square() / 2
    module.zero_grad()
    if not count:
        raise ArgumentError("channels: batches: there are none")
    return {name: one / count for name, one in scores.items()}


def _mean_loss(loss: Loss, output: object, batch: object, where: str) -> torch.Tensor:
    import torch

    with explained(f"{where}: loss raised", batch):
        value = loss(output, batch)
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        raise ArgumentError(f"{where}: loss must give a tensor that depends on the output")
    if not torch.isfinite(value).all():
        raise ArgumentError(f"{where}: the loss is NaN or infinite")
    return value.mean()


def _change(module: torch.nn.Module, group: ChannelGroup) -> torch.Tensor:
    """The sum of w dL/dw over all that reads each unit: the loss's slope as the unit goes."""
    import torch

    def slope(parameter: torch.Tensor) -> torch.Tensor:
        if parameter.grad is None:
            return torch.zeros_like(parameter, dtype=torch.float64)
        return parameter.detach().double() * parameter.grad.double()

    readers = [m for m in group.members if m.side == "in"] or list(group.members)
    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in readers:
        total += _summed(module, member, group, slope)
    return _by_unit(total, group)


def _by_unit(values: torch.Tensor, group: ChannelGroup) -> torch.Tensor:
    import torch

    return values[torch.tensor(group.units)].sum(1)


def _summed(module: torch.nn.Module, member: Member, group: ChannelGroup, of: _Of) -> torch.Tensor:
    """Sums of what `of` makes of a member's weights, for each of the group's channels."""
    import torch

    total = torch.zeros(group.channels, dtype=torch.float64)
    roots = torch.tensor(member.root)
    for parameter, axis, index in _weights(module, member):
        values = of(parameter).movedim(axis, 0).cpu()
        sums = values.reshape(len(values), -1).sum(1)
        total.index_add_(0, roots, sums[torch.tensor(index)])
    return total


def _weights(
    module: torch.nn.Module, member: Member
) -> list[tuple[torch.Tensor, int, tuple[int, ...]]]:
    """A member's weights (no biases), the axis of each that has its channels, and their indices."""
    from torch import nn

    if member.name in dict(module.named_parameters()):
        return [(module.get_parameter(member.name), member.axis, member.index)]
    layer = module.get_submodule(member.name)
    if isinstance(layer, nn.MultiheadAttention):
        return [
            (layer.in_proj_weight, 1, member.index),
            (layer.out_proj.weight, 1, member.index),
            (layer.out_proj.weight, 0, member.index),
        ]
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter):
        return []
    axis, index = weight.ndim - 1, member.index
    if isinstance(layer, nn.modules.conv._ConvNd):
        axis = int((member.side == "in") != layer.transposed)
        if axis == 1:  # which is that of one of the layer's groups
            index = tuple(i % weight.shape[1] for i in index)
    elif isinstance(layer, nn.Linear):
        axis = int(member.side == "in")
    return [(weight, axis, index)] if max(index) < weight.shape[axis] else []
