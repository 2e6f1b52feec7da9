"""Gradients through a network that runs a block at a time: part after part, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from taut.calibration.compressed_chain import CompressedChain
from taut.networks.calls import explained
from taut.networks.chain import Entered

if TYPE_CHECKING:
    import torch


class GradientSums:
    """Sums of gradients by what is `tuned`: `found` has None where there is none."""

    def __init__(self, tuned: Sequence[torch.nn.Parameter]) -> None:
        self._tuned = tuned
        self.found: list[torch.Tensor | None] = [None] * len(tuned)

    def add(
        self,
        tensor: torch.Tensor,
        leaves: Sequence[torch.Tensor],
        gradient: torch.Tensor | None = None,
    ) -> Sequence[torch.Tensor | None]:
        """Add those of a tensor (in a direction, of any shape); gives what comes to the leaves."""
        import torch

        if not tensor.requires_grad:
            return [None] * len(leaves)
        with explained("finishing: the model's backward pass failed"):
            found = torch.autograd.grad(
                tensor, [*leaves, *self._tuned], gradient, allow_unused=True
            )
        pairs = zip(self.found, found[len(leaves) :], strict=True)
        self.found = [_sum(before, one) for before, one in pairs]
        return found[: len(leaves)]


def _sum(before: torch.Tensor | None, one: torch.Tensor | None) -> torch.Tensor | None:
    if before is None or one is None:
        return one if before is None else before
    return before + one


@cache
def block_step() -> Callable[..., torch.Tensor]:
    """A block of an open network as a step of autograd that keeps no more than its input.

    Called with the network, the block's number, what enters beside the hidden state, what is tuned
    in the block, the hidden state, and what is tuned once more, each by itself.
    """
    import torch

    class BlockStep(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            compressed: CompressedChain,
            block: int,
            entered: Entered,
            tuned: Sequence[torch.nn.Parameter],
            hidden: torch.Tensor,
            *_: torch.nn.Parameter,
        ) -> torch.Tensor:
            ctx.place = compressed, block, entered, tuned
            ctx.save_for_backward(hidden)
            return compressed.run(block, entered, hidden)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            compressed, block, entered, tuned = ctx.place
            (saved,) = ctx.saved_tensors
            hidden = saved.detach().requires_grad_()
            with torch.enable_grad(), compressed.block(block):
                output = compressed.chain.run(block, entered, hidden)
                found = torch.autograd.grad(output, [hidden, *tuned], gradient, allow_unused=True)
            return (None, None, None, None, *found)

    return BlockStep.apply
