"""The compressed network's outputs beside the original's, run and differentiated block by block.

A block's values are made when it runs, and again when its gradients do: what is kept of a batch in
between is what enters each block. The original's last hidden state is kept for each batch, for
its outputs are larger by far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.start import Started
from taut.errors import ArgumentError
from taut.networks.chain import Entered
from taut.networks.output_vectors import Distance, Kind, vectors

if TYPE_CHECKING:
    import torch

_POSITIONS: Final = 2048  # that are judged: words, or whatever the output has a vector for


class ChainJudge:
    """The loss of a compressed network over any of `batches`, as `taut.transform.judge.Judge`.

    The network must be open. Gradients reach
    `tuned`, parameters of the network by name.
    """

    def __init__(
        self,
        compressed: CompressedChain,
        batches: Sequence[object],
        judges: Sequence[int],
        kind: Kind,
        tuned: Mapping[str, torch.nn.Parameter],
    ) -> None:
        self._compressed, self._batches, self._kind = compressed, batches, kind
        self._last: dict[int, torch.Tensor] = {}
        self._tuned = [
            [one for name, one in tuned.items() if name.startswith(f"{block}.")]
            for block in compressed.chain.names
        ]
        self._judges = self._enough(judges)
        self._distance = Distance.beside(kind, (self._original(i) for i in self._judges))

    @cached_property
    def before(self) -> float:
        """The loss over the judges as the network is first."""
        return self.mean()

    def total(self, index: int) -> tuple[torch.Tensor, int]:
        """Return the loss of one batch as a sum that gradients flow through, and its positions."""
        batch, chain = self._batches[index], self._compressed.chain
        original = self._original(index)
        entered = chain.enter(batch)
        hidden = entered.hidden
        for block, tuned in enumerate(self._tuned):
            hidden = _block().apply(self._compressed, block, entered, tuned, hidden, *tuned)
        found = vectors(chain.leave(batch, hidden), batch, self._kind)
        return self._distance(found, original), len(original)

    def mean(self) -> float:
        """Return the mean loss over the judges, which no gradient flows through."""
        import torch

        with torch.no_grad():
            found = [self.total(index) for index in self._judges]
        return sum(float(total) for total, _ in found) / max(1, sum(count for _, count in found))

    def _enough(self, judges: Sequence[int]) -> list[int]:
        """The first of the judges that have positions enough: all see the same changes."""
        found, positions = list[int](), 0
        for index in judges:
            if positions < _POSITIONS:
                found.append(index)
                positions += len(self._original(index))
        return found

    def _original(self, index: int) -> torch.Tensor:
        """The original's vectors.

        Raises:
            ArgumentError: there is a NaN in them, beside which nothing can be judged.
        """
        import torch

        batch, chain = self._batches[index], self._compressed.chain
        with torch.no_grad(), self._compressed.original():
            if index not in self._last:
                entered = chain.enter(batch)
                hidden = entered.hidden
                for block in range(len(chain)):
                    hidden = chain.run(block, entered, hidden)
                self._last[index] = hidden
            found = vectors(chain.leave(batch, self._last[index]), batch, self._kind).clone()
        if bool(found.isnan().any()):
            raise ArgumentError("calibration: the model's output has NaN; leave the batch out")
        return found


def chain_judge(
    compressed: CompressedChain,
    kind: Kind,
    batches: Sequence[object],
    judges: Sequence[int],
    tuned: Mapping[str, torch.nn.Parameter],
) -> ChainJudge:
    """A judge of an open network, as `taut.transform.finish` asks for it."""
    return ChainJudge(compressed, batches, judges, kind, tuned)


def judge_chain(started: Started, compressed: CompressedChain) -> None:
    """Let the batches set aside be judged block by block."""
    held = started.held
    with compressed.open():
        judge = ChainJudge(compressed, held.batches, held.judges, held.kind, {})
    held.judged_by(judge)


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
