"""What the front of a chain makes of the batches, each cut so small that a part has room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from taut.analysis._capture import Capture
from taut.analysis._parts import Batch
from taut.analysis._watching import watching
from taut.io.digest import Digest
from taut.networks.chain import Chain, Entered
from taut.networks.chain_cutting import Cutting, pieces_of

if TYPE_CHECKING:
    import torch


def enter(
    chain: Chain, batches: Sequence[Batch], capture: Capture, cutting: Cutting | None
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Each batch, or its pieces, with what enters the first block.

    Raises:
        AnotherWayError: a batch takes another way than the first did.
    """
    alike = _Alike()
    for whole in batches:
        found = _entered(chain, whole, capture)
        cut = cutting.of(whole.given) if cutting is not None else None
        if cut is None or pieces_of(found.hidden) == 1:
            yield _kept(whole, found, alike, cutting)
            continue
        for given in cut.pieces(whole.given, pieces_of(found.hidden)):
            piece = Batch(given, whole.where)
            yield _kept(piece, _entered(chain, piece, capture), alike, cutting)


def _kept(
    batch: Batch, found: Entered, alike: _Alike, cutting: Cutting | None
) -> tuple[Batch, torch.Tensor]:
    """A batch with what the front made of it, and the hidden state by itself."""
    hidden, held = found.hidden.detach(), found.tensors()
    others = found.with_others(lambda one: alike.known(one.detach()))
    heads = 1 if cutting is None else cutting.heads(hidden)
    cut = cutting.of(batch.given) if cutting is not None and heads > 1 else None
    beside = tuple(number for number, one in enumerate(held) if one.requires_grad)
    entered = replace(others, hidden=hidden[:0])
    return Batch(batch.given, batch.where, entered, beside, cut, heads), hidden


def _entered(chain: Chain, batch: Batch, capture: Capture) -> Entered:
    with watching(capture.watch):
        found = chain.enter(batch.given, batch.where)
    capture.forget()
    return found


class _Alike:
    """Gives one tensor for all that have the same values, as masks and positions of batches do."""

    def __init__(self) -> None:
        self._known: dict[str, torch.Tensor] = {}

    def known(self, tensor: torch.Tensor) -> torch.Tensor:
        digest = Digest()
        digest.add(tensor.cpu(), "a mask")
        return self._known.setdefault(digest.text(), tensor)


def with_leaves(
    batch: Batch, move: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Entered, dict[int, torch.Tensor]]:
    """What goes beside the hidden state, with leaves for what takes gradients, by their numbers."""
    assert batch.entered is not None
    entered = batch.entered.with_others(move)
    held = entered.tensors()
    leaves = {at: held[at].detach().requires_grad_() for at in batch.beside}
    new = {id(held[at]): leaf for at, leaf in leaves.items()}
    if not new:
        return entered, {}
    return entered.with_others(lambda one: new.get(id(one), one)), leaves
