"""Windows of recurrent networks joined to long ones, through which their states are carried.

A network of text is calibrated on short windows, each from an empty state, and used on long texts.
What serves the first may cost the second: an error of a state that lasts is seen there alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.calls import run
from taut.networks.cuts import tensors
from taut.networks.outputs import find_target

if TYPE_CHECKING:
    import torch

_LONG: Final = 16  # windows that are joined to one, at most
_NEAR: Final = 1e-4  # of the largest value


def has_state(module: torch.nn.Module) -> bool:
    """Whether a network has recurrent layers, or cells of them."""
    import torch

    kinds = (torch.nn.RNNBase, torch.nn.RNNCellBase)
    return any(isinstance(one, kinds) for one in module.modules())


def joined(batch: object, module: torch.nn.Module) -> object | None:
    """A batch (windows, steps, ...) with its windows joined: (fewer, more steps, ...).

    None where the network has no state, or gives something else for the first window then.

    >>> import torch
    >>> class Last(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.GRU(2, 3, batch_first=True)
    ...     def forward(self, x):
    ...         return self.layer(x)[0]
    >>> joined(torch.ones(6, 5, 2), Last()).shape
    torch.Size([1, 30, 2])
    """
    import torch

    if not isinstance(batch, (torch.Tensor, dict, tuple, list)) or not has_state(module):
        return None
    shapes = {tuple(one.shape[:2]) for one in tensors(batch)}
    windows, steps = shapes.pop() if len(shapes) == 1 and len(min(shapes)) > 1 else (0, 0)
    each = min(windows, _LONG)
    if each < 2 or steps < 2:
        return None
    made = _each(batch, windows // each * each, (windows // each, each * steps))
    return made if _goes_on(batch, made, module, steps) else None


def _each(value: object, windows: int, shape: tuple[int, int]) -> object:
    """The tensors of a batch in another shape, without windows that are left over."""
    import torch

    if isinstance(value, torch.Tensor):
        return value[:windows].reshape(*shape, *value.shape[2:])
    if isinstance(value, dict):
        return {name: _each(one, windows, shape) for name, one in value.items()}
    return type(value)(_each(one, windows, shape) for one in value)  # type: ignore[call-arg,attr-defined]


def _goes_on(batch: object, made: object, module: torch.nn.Module, steps: int) -> bool:
    """Whether the network gives for a long window's beginning what it does for the first one."""
    import torch

    try:
        with torch.no_grad():
            short, long = (
                find_target(run(module, one, "joined"), "logits", lambda _: None).tensor
                for one in (batch, made)
            )
    except ArgumentError:
        return False
    if short.ndim < 2 or long.ndim != short.ndim or long.shape[1] < 2 * steps:
        return False
    far = (long[0, :steps] - short[0]).abs().max()
    return bool(far <= _NEAR * short.abs().max())
