"""What enters a matrix, rounded to 8 bits while a network is trained, as an integer runtime will.

Each linear or convolutional layer's input has one learnt step (LSQ, Esser et al. 2020), signed, or
unsigned where the first batch has nothing below zero. A Taut file holds weights alone: the
network gets used to the rounding here, and an export measures ranges of its own.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from taut.training.learnt_steps import Rounding

NAME: Final = "taut_input"
_KINDS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class InputStep(nn.Module):
    """Rounds to multiples of a learnt step, which the first batch sets to its largest value."""

    low: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.zeros(()))
        self.register_buffer("low", torch.tensor(0))  # 0 until the first batch; then -127 or -1

    def forward(self, values: Tensor) -> Tensor:
        """The values as 8 bits hold them; gradients pass, and reach the step."""
        if not values.is_floating_point():
            return values
        if not int(self.low):
            self._begin(values)
        most = 127 if int(self.low) < -1 else 255
        step = self.log_step.exp()
        rounded: Tensor = Rounding.apply(values, step, most, 1e-3)  # type: ignore[no-untyped-call]
        return rounded

    @torch.no_grad()
    def _begin(self, values: Tensor) -> None:
        signed = bool((values < 0).any())
        largest = values.abs().max().clamp(min=1e-6)
        self.log_step.copy_((largest / (127 if signed else 255)).log())
        self.low.fill_(-127 if signed else -1)


def round_inputs(module: nn.Module) -> list[nn.Module]:
    """Give every linear and convolutional layer of `module`, in place, a rounded input.

    Returns the layers; `plain_inputs` undoes it.
    """
    layers: list[nn.Module] = [one for one in module.modules() if isinstance(one, _KINDS)]
    for layer in layers:
        step = InputStep()
        layer.add_module(NAME, step)
        step.__dict__["hook"] = layer.register_forward_pre_hook(
            lambda owner, given: (getattr(owner, NAME)(given[0]), *given[1:])
        )
    return layers


def plain_inputs(layers: list[nn.Module]) -> None:
    """Take the rounding of inputs away again."""
    for layer in layers:
        step = getattr(layer, NAME)
        step.__dict__["hook"].remove()
        delattr(layer, NAME)
