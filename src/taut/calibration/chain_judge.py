"""The compressed network's outputs beside the original's, run and differentiated block by block.

A block's values are made when it runs, and again when its gradients do: what is kept of a batch in
between is what enters each block. The original's last hidden state is kept for each batch, for
its outputs are larger by far. So are those of the compressed network: each part of them is made,
differentiated and let go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.calibration.block_step import GradientSums, block_step
from taut.calibration.carried import Carried
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.held import Held
from taut.calibration.start import Started
from taut.networks.cuts import tensors
from taut.networks.head_parts import HeadPart, HeadParts, find_head_parts
from taut.transform.judge import Judge, Slope

if TYPE_CHECKING:
    import torch

_NUMBERS: Final = 2048  # in the first tensors of the batches that are judged


@dataclass(frozen=True)
class JudgedPiece:
    """A part of a batch, small enough for a block; what the original's last block gives for it."""

    given: object
    last: int  # its number among those that are carried


class ChainJudge(Judge):
    """A judge of an open compressed network, of a few of `judges`: all see the same changes.

    Gradients reach `tuned`, parameters of the network by name. A batch goes through the blocks in
    pieces, and through the head a few positions at a time, where these are the whole. What the
    original gives is made anew from what leaves its last block, which is kept: in memory, or in a
    temporary file of `scratch`.
    """

    cached = 0

    def __init__(
        self,
        held: Held,
        compressed: CompressedChain,
        batches: Sequence[object],
        judges: Sequence[int],
        tuned: Mapping[str, torch.nn.Parameter],
        *,
        scratch: Path | None = None,
    ) -> None:
        self._compressed = compressed
        self._pieces: dict[int, list[JudgedPiece]] = {}
        self._last = Carried(folder=scratch, exact=True)
        self._parts: HeadParts | None = None
        self._counts: dict[int, list[float]] = {}
        self._tuned = [
            [one for name, one in tuned.items() if name.startswith(f"{block}.")]
            for block in compressed.chain.names
        ]
        network, few = compressed.chain.network, _few(batches, judges)
        super().__init__(network, network, batches, few, held.kind, None, held.beside, held.shares)

    def total(self, index: int) -> tuple[torch.Tensor, int]:
        """Return the loss of one batch as a sum, through which no gradients flow."""
        import torch

        total, count = torch.zeros(()), 0
        with torch.no_grad():
            for piece in self._pieces_of(index):
                hidden = self._hidden(piece)
                for part, originals in self._headed(index, piece):
                    total = total + self._far(index, part, part.of(hidden), originals)
                    count += len(originals[0])
        return total, count

    def slope(self, index: int, tuned: Sequence[torch.nn.Parameter]) -> Slope:
        """Return the loss of one batch as a sum, with its gradients by what is tuned."""
        import torch

        total, sums = 0.0, GradientSums(tuned)
        for piece in self._pieces_of(index):
            hidden = self._hidden(piece)
            back = torch.zeros_like(hidden)
            for part, originals in self._headed(index, piece):
                leaf = part.of(hidden).detach().requires_grad_()
                loss = self._far(index, part, leaf, originals)
                total += float(loss.detach())
                (found,) = sums.add(loss, [leaf])
                if found is not None:
                    part.of(back).copy_(found)
            sums.add(hidden, [], back)
        return Slope(total, sums.found)

    def _hidden(self, piece: JudgedPiece) -> torch.Tensor:
        """What the compressed network's last block gives."""
        entered = self._compressed.enter(piece.given)
        hidden = entered.hidden
        for block, tuned in enumerate(self._tuned):
            hidden = block_step()(self._compressed, block, entered, tuned, hidden, *tuned)
        return hidden

    def _far(
        self, index: int, part: HeadPart, hidden: torch.Tensor, originals: list[torch.Tensor]
    ) -> torch.Tensor:
        """The loss of the positions of a part."""
        output = self._compressed.chain.leave(part.given, hidden)
        changed = self._vectors(output, part.given, part.span)
        return self._apart(changed, originals, self._counts_of(index))

    def _counts_of(self, index: int) -> list[float]:
        """What a vector of the other outputs counts of one of the main one."""
        if index not in self._counts:
            counts = [0] * (1 + len(self._others))
            for some in self._originals(index) if self._others else ():
                counts = [count + len(one) for count, one in zip(counts, some, strict=True)]
            self._counts[index] = [counts[0] / max(1, count) for count in counts[1:]]
        return self._counts[index]

    def _originals(self, index: int) -> Iterator[list[torch.Tensor]]:
        for piece in self._pieces_of(index):
            for _, originals in self._headed(index, piece):
                yield originals

    def _headed(
        self, index: int, piece: JudgedPiece
    ) -> Iterator[tuple[HeadPart, list[torch.Tensor]]]:
        """The parts that the head is run on, each with the original's vectors."""
        import torch

        chain, last = self._compressed.chain, self._compressed.moved(self._last[piece.last])
        for part in self._head_parts(piece.given, last).of(piece.given, last):
            with torch.no_grad(), self._compressed.original():
                output = chain.leave(part.given, part.of(last))
                found = [one.clone() for one in self._vectors(output, part.given, part.span)]
            del output
            yield part, self._checked(found, index)

    def _head_parts(self, given: object, last: torch.Tensor) -> HeadParts:
        """How the head runs on parts, as it was found for the first batch."""
        if self._parts is None:
            compressed = self._compressed
            with compressed.original():
                self._parts = find_head_parts(
                    compressed.chain, given, last, compressed.cutting, self._vectors
                )
        return self._parts

    def _pieces_of(self, index: int) -> list[JudgedPiece]:
        """The pieces of a batch, of each of which the original's last hidden state is kept."""
        import torch

        if index not in self._pieces:
            with torch.no_grad(), self._compressed.original():
                given = self._compressed.pieces(self._batches[index])
                self._pieces[index] = [JudgedPiece(one, self._kept(one)) for one in given]
        return self._pieces[index]

    def _kept(self, given: object) -> int:
        """The number under which the original's last hidden state is carried."""
        chain, number = self._compressed.chain, len(self._last)
        entered = self._compressed.enter(given)
        hidden = entered.hidden
        for block in range(len(chain)):
            with self._compressed.given(block):
                hidden = chain.run(block, entered, hidden)
        self._last[number] = hidden
        return number


def _few(batches: Sequence[object], judges: Sequence[int]) -> list[int]:
    """The first of the judges that have numbers enough: of texts, words."""
    found, numbers = list[int](), 0
    for index in judges:
        if numbers < _NUMBERS:
            found.append(index)
            numbers += next((one.numel() for one in tensors(batches[index])), _NUMBERS)
    return found


def chain_judge(
    started: Started,
    compressed: CompressedChain,
    batches: Sequence[object],
    judges: Sequence[int],
    tuned: Mapping[str, torch.nn.Parameter],
) -> Judge:
    """A judge of an open network, as `taut.transform.finish` asks for it."""
    scratch = started.work.request.scratch
    return ChainJudge(started.held, compressed, batches, judges, tuned, scratch=scratch)


def judge_chain(started: Started, compressed: CompressedChain) -> None:
    """Let the batches set aside be judged block by block."""
    held = started.held
    with compressed.open():
        held.judged_by(chain_judge(started, compressed, held.batches, held.judges, {}))
