"""What a layer is, by its class and its parameters: names say nothing."""

from __future__ import annotations

from typing import Final

from torch import nn
from torch.nn.utils import parametrize

_NORMS: Final = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)


def is_norm(owner: nn.Module) -> bool:
    """Whether a module multiplies and shifts whole channels by what it holds, and does no more.

    That are torch's norms, and modules that hold nothing but vectors (an RMSNorm of one's own, a
    scale for each channel, PReLU): few numbers, each of which counts in every place.

    >>> is_norm(nn.LayerNorm((4, 4))), is_norm(nn.PReLU()), is_norm(nn.Linear(4, 4))
    (True, True, False)
    """
    if isinstance(owner, _NORMS):
        return True
    held = [*owner.parameters(recurse=False)]
    if parametrize.is_parametrized(owner):
        held += owner.parametrizations.parameters()  # type: ignore[union-attr]
    return bool(held) and all(one.ndim <= 1 for one in held)
