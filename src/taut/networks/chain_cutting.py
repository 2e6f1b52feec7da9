"""How batches are cut so small that a part of a network has room for them: one rule for all work.

Samples of a batch are told apart by what a run gives, and a batch is cut only where each sample
goes through all blocks, and the head, as if it were alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from taut.networks.calls import evaluating, samples_of
from taut.networks.chain import Chain
from taut.networks.cuts import Cut, cut_of_samples, tensors
from taut.networks.outputs import find_target

if TYPE_CHECKING:
    import torch

VALUES: Final = 1 << 20
"""Of a hidden state that a block runs on at once."""

POSITIONS: Final = 1024
"""And as many positions as make a product of matrices fast."""

OUTPUTS: Final = 1 << 25
"""Values of an output that the head makes at once, where a sample has no more."""


@dataclass(frozen=True)
class Cutting:
    """How batches are cut: the axes of samples, and values of the output for one of the hidden."""

    axes: tuple[int | None, ...]
    grows: float

    def of(self, batch: object) -> Cut | None:
        """The cut of a batch; None of one whose tensors are others than were tried."""
        count, held = samples_of(batch), tensors(batch)
        if count < 2 or len(held) != len(self.axes):
            return None
        fits = all(
            axis is None or len(one) == count for one, axis in zip(held, self.axes, strict=True)
        )
        return Cut(count, self.axes) if fits else None

    def heads(self, hidden: torch.Tensor, most: int | None = None) -> int:
        """Parts of whole samples of which the head makes `most` values (None: OUTPUTS)."""
        count, most = len(hidden), OUTPUTS if most is None else most
        each = max(1, int(most // max(1.0, hidden.numel() * self.grows / max(1, count))))
        return -(-count // each)


def find_cutting(chain: Chain, batch: object) -> Cutting | None:
    """How batches like this one may be cut: tried on two of its samples, without gradients.

    Samples must go through all blocks, and the head, each as if it were alone.
    """
    import torch

    with torch.no_grad(), evaluating(chain.network):
        cut = cut_of_samples(batch, _up_to_head()(chain))
        if cut is None:
            return None
        one, two = cut.pieces(batch, cut.count)[0], replace(cut, count=2).pieces(batch, 1)[0]
        hidden = _last_hidden(chain, two)
        alone = _output(chain, one, hidden[:1])
        if alone is None or len(hidden) != 2:
            return None
        both = _output(chain, two, hidden)
        if both is None or both.shape[0] != 2 or both[:1].shape != alone.shape:
            return None
        if float((both[:1] - alone).abs_().max()) > 1e-3 * float(alone.abs().max()):
            return None
        return Cutting(cut.axes, alone.numel() / max(1, hidden[:1].numel()))


def pieces_of(hidden: torch.Tensor) -> int:
    """In how many pieces a hidden state is small enough for a block to run on."""
    most = max(VALUES, POSITIONS * hidden.shape[-1])
    return min(len(hidden), -(-hidden.numel() // most))


def head_pieces(
    batch: object, hidden: torch.Tensor, cut: Cut | None, count: int
) -> Iterator[tuple[object, torch.Tensor]]:
    """The batch in so many parts of whole samples, with their hidden states."""
    if cut is None:
        yield batch, hidden
        return
    begin = 0
    for given in cut.pieces(batch, count):
        samples = samples_of(given)
        yield given, hidden[begin : begin + samples]
        begin += samples


def _output(chain: Chain, batch: object, hidden: torch.Tensor) -> torch.Tensor | None:
    found = find_target(chain.leave(batch, hidden), "auto", lambda _: ()).tensor
    return found if found.ndim else None


def _last_hidden(chain: Chain, batch: object) -> torch.Tensor:
    entered = chain.enter(batch)
    hidden = entered.hidden
    for index in range(len(chain)):
        hidden = chain.run(index, entered, hidden)
    return hidden


@cache
def _up_to_head() -> Callable[[Chain], torch.nn.Module]:
    """Makes a network that gives what the last block of a chain does."""
    import torch

    class UpToHead(torch.nn.Module):
        def __init__(self, chain: Chain) -> None:
            super().__init__()
            self.chain = chain

        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return _last_hidden(self.chain, kwargs or args)

    return UpToHead
