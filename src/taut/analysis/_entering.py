"""What the front of a chain makes of the batches, each cut so small that a part has room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from taut.analysis._capture import Capture
from taut.analysis._parts import Batch
from taut.analysis._watching import watching
from taut.io.digest import Digest
from taut.networks.calls import evaluating, samples_of
from taut.networks.chain import Chain, Entered
from taut.networks.cuts import Cut, cut_of_samples, tensors
from taut.networks.outputs import find_target

if TYPE_CHECKING:
    import torch

_VALUES: Final = 1 << 20  # of a hidden state that a block runs on at once
_POSITIONS: Final = 1024  # and as many positions as make a product of matrices fast
_OUTPUTS: Final = 1 << 25  # values of an output that the head makes at once


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


def find_cutting(chain: Chain, batch: object) -> Cutting | None:
    """How batches like this one may be cut: tried on two of its samples, without gradients.

    Samples must go through all blocks, and the head, each as if it were alone.
    """
    import torch

    with torch.no_grad(), evaluating(chain.network):
        cut = cut_of_samples(batch, _up_to_head(chain))
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


def _output(chain: Chain, batch: object, hidden: torch.Tensor) -> torch.Tensor | None:
    found = find_target(chain.leave(batch, hidden), "auto", lambda _: ()).tensor
    return found if found.ndim else None


def _last_hidden(chain: Chain, batch: object) -> torch.Tensor:
    entered = chain.enter(batch)
    hidden = entered.hidden
    for index in range(len(chain)):
        hidden = chain.run(index, entered, hidden)
    return hidden


def _up_to_head(chain: Chain) -> torch.nn.Module:
    """A network that gives what the last block does."""
    import torch

    class UpToHead(torch.nn.Module):
        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return _last_hidden(chain, kwargs or args)

    return UpToHead()


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
        if cut is None or _pieces(found.hidden) == 1:
            yield _kept(whole, found, alike, cutting)
            continue
        for given in cut.pieces(whole.given, _pieces(found.hidden)):
            piece = Batch(given, whole.where)
            yield _kept(piece, _entered(chain, piece, capture), alike, cutting)


def _kept(
    batch: Batch, found: Entered, alike: _Alike, cutting: Cutting | None
) -> tuple[Batch, torch.Tensor]:
    """A batch with what the front made of it, and the hidden state by itself."""
    hidden, held = found.hidden.detach(), found.tensors()
    others = found.with_others(lambda one: alike.known(one.detach()))
    heads = 1 if cutting is None else _heads(hidden, cutting.grows)
    cut = cutting.of(batch.given) if cutting is not None and heads > 1 else None
    beside = tuple(number for number, one in enumerate(held) if one.requires_grad)
    entered = replace(others, hidden=hidden[:0])
    return Batch(batch.given, batch.where, entered, beside, cut, heads), hidden


def _heads(hidden: torch.Tensor, grows: float) -> int:
    """In how many parts the head's output is small enough, each of whole samples."""
    count = len(hidden)
    each = max(1, int(_OUTPUTS // max(1.0, hidden.numel() * grows / max(1, count))))
    return -(-count // each)


def _entered(chain: Chain, batch: Batch, capture: Capture) -> Entered:
    with watching(capture.watch):
        found = chain.enter(batch.given, batch.where)
    capture.forget()
    return found


def _pieces(hidden: torch.Tensor) -> int:
    """In how many pieces a hidden state is small enough."""
    most = max(_VALUES, _POSITIONS * hidden.shape[-1])
    return min(len(hidden), -(-hidden.numel() // most))


class _Alike:
    """Gives one tensor for all that have the same values, as masks and positions of batches do."""

    def __init__(self) -> None:
        self._known: dict[str, torch.Tensor] = {}

    def known(self, tensor: torch.Tensor) -> torch.Tensor:
        digest = Digest()
        digest.add(tensor.cpu(), "a mask")
        return self._known.setdefault(digest.text(), tensor)


def head_pieces(batch: Batch, hidden: torch.Tensor) -> Iterator[tuple[object, torch.Tensor]]:
    """The parts of a batch that the head is run on, with their hidden states."""
    if batch.head is None:
        yield batch.given, hidden
        return
    begin = 0
    for given in batch.head.pieces(batch.given, batch.heads):
        count = samples_of(given)
        yield given, hidden[begin : begin + count]
        begin += count


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
