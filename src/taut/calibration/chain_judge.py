"""The compressed network's outputs beside the original's, run and differentiated block by block.

A block's values are made when it runs, and again when its gradients do: what is kept of a batch in
between is what enters each block. The original's last hidden state is kept for each batch, for
its outputs are larger by far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.held import Held
from taut.calibration.start import Started
from taut.networks.chain import Entered
from taut.networks.cuts import tensors
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

_NUMBERS: Final = 2048  # in the first tensors of the batches that are judged


class ChainJudge(Judge):
    """A judge of an open compressed network, of a few of `judges`: all see the same changes.

    Gradients reach `tuned`, parameters of the network by name. What the original gives is made anew
    from what leaves its last block.
    """

    cached = 0

    def __init__(
        self,
        held: Held,
        compressed: CompressedChain,
        batches: Sequence[object],
        judges: Sequence[int],
        tuned: Mapping[str, torch.nn.Parameter],
    ) -> None:
        self._compressed = compressed
        self._last: dict[int, torch.Tensor] = {}
        self._tuned = [
            [one for name, one in tuned.items() if name.startswith(f"{block}.")]
            for block in compressed.chain.names
        ]
        network, few = compressed.chain.network, _few(batches, judges)
        super().__init__(network, network, batches, few, held.kind, None, held.beside)

    def changed(self, index: int) -> object:
        """What the compressed network gives for a batch."""
        batch, chain = self._batches[index], self._compressed.chain
        entered = chain.enter(batch)
        hidden = entered.hidden
        for block, tuned in enumerate(self._tuned):
            hidden = _block().apply(self._compressed, block, entered, tuned, hidden, *tuned)
        return chain.leave(batch, hidden)

    def given(self, index: int) -> object:
        """What the original gives for a batch."""
        batch, chain = self._batches[index], self._compressed.chain
        with self._compressed.original():
            if index not in self._last:
                entered = chain.enter(batch)
                hidden = entered.hidden
                for block in range(len(chain)):
                    with self._compressed.given(block):
                        hidden = chain.run(block, entered, hidden)
                self._last[index] = hidden
            return chain.leave(batch, self._last[index])


def _few(batches: Sequence[object], judges: Sequence[int]) -> list[int]:
    """The first of the judges that have numbers enough: of texts, words."""
    found, numbers = list[int](), 0
    for index in judges:
        if numbers < _NUMBERS:
            found.append(index)
            numbers += next((one.numel() for one in tensors(batches[index])), _NUMBERS)
    return found


def chain_judge(
    held: Held,
    compressed: CompressedChain,
    batches: Sequence[object],
    judges: Sequence[int],
    tuned: Mapping[str, torch.nn.Parameter],
) -> Judge:
    """A judge of an open network, as `taut.transform.finish` asks for it."""
    return ChainJudge(held, compressed, batches, judges, tuned)


def judge_chain(started: Started, compressed: CompressedChain) -> None:
    """Let the batches set aside be judged block by block."""
    held = started.held
    with compressed.open():
        held.judged_by(ChainJudge(held, compressed, held.batches, held.judges, {}))


@cache
def _block() -> type[Any]:
    """A block as a step of autograd that keeps no more than its input."""
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

    return BlockStep
