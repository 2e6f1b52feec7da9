"""Curvature of a chain of blocks, of which one is at work at a time.

Forward once: what enters each block is kept. Backward from the head down: a block is recomputed
from what entered it, the gradients go through it, its forms are summed, and the gradients of what
entered it are handed down. Its forms leave the memory before the next block works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from taut.analysis._capture import Capture
from taut.analysis._entering import enter, with_leaves
from taut.analysis._gram import Room
from taut.analysis._kept_blocks import KeptBlocks
from taut.analysis._parts import Allowance, Batch, CrossedError, Done, differentiate
from taut.analysis._shelf import Shelf
from taut.analysis._summed import Results
from taut.analysis._tracked import Tracked
from taut.analysis.losses import Differentiable, Differentiated
from taut.analysis.metric import Curvature
from taut.machine import trim_heap
from taut.networks.calls import explained
from taut.networks.chain import Chain, Entered
from taut.networks.chain_cutting import Cutting, head_pieces
from taut.networks.chain_precision import outside
from taut.networks.precision import held_tensors, placed

if TYPE_CHECKING:
    import torch

OUTSIDE: Final = 8192
"""Full sides of what lies outside of blocks: a vocabulary's are diagonal."""


class Streamed:
    """One pass forward and back over all batches; the network's memory is that of one block."""

    def __init__(
        self,
        chain: Chain,
        what: Differentiated,
        capture: Capture,
        means: Allowance,
        done: Done,
        kept: KeptBlocks | None = None,
    ) -> None:
        self._chain, self._what, self._capture = chain, what, capture
        self._means, self._done, self._kept = means, done, kept
        self._outside = outside(chain)
        self._batches: list[Batch] = []
        self._entering: list[Shelf] = []  # what enters each block
        self._gradients: list[Shelf] = []  # for each pass, of what entered the last part
        self._beside: list[list[dict[int, torch.Tensor]]] = []  # for each batch and pass

    @property
    def steps(self) -> int:
        """How often `done` is called in all, once the batches are entered."""
        return (2 * len(self._chain) + 2) * len(self._batches)

    def sum(self, batches: Sequence[Batch], cutting: Cutting | None, results: Results) -> None:
        """All of it. What is in one block alone is settled once that block is through.

        Blocks that were kept by a pass that broke off are taken over; head and front run again.

        Raises:
            AnotherWayError: a batch takes another way than the first did; nothing was summed.
            CrossedError: gradients go past the blocks.
        """
        last = self._forward(self._entered(batches, cutting))
        self._head(last)
        last.close()
        for index in reversed(range(self._taken_over(results))):
            before = self._met_elsewhere(index)
            self._block(index)
            if self._met_elsewhere(index) != before:  # it would be lost with what is taken over
                self._kept = None
            self._settle(index, results)
        self._front()
        for shelf in self._gradients:
            shelf.close()

    def _taken_over(self, results: Results) -> int:
        """Take over the blocks that were kept, from the last one down; gives how many are left."""
        taken: list[tuple[list[Tracked], list[Curvature]]] = []
        count = left = len(self._chain)
        while self._kept is not None and left:
            owners = self._only_in(left - 1)
            forms = self._kept.take(left - 1, owners)
            if forms is None:
                break
            taken.append((owners, forms))
            left -= 1
        if self._kept is None or left == count:
            return count
        handed = self._handed(self._entering[left])
        beside = self._kept.gradients(left, len(self._batches), handed)
        if beside is None:
            return count
        for owners, forms in taken:
            results.take(owners, forms)
        for shelf in (*self._entering[left:], *self._gradients):
            shelf.close()
        del self._entering[left:]
        self._gradients, self._beside = handed, beside
        for _ in range((count - left) * len(self._batches)):
            self._done()
        return left

    def _settle(self, index: int, results: Results) -> None:
        """What only this block has is known now, and kept with what the block below takes."""
        kept, narrow = self._kept, not all(shelf.plain for shelf in self._gradients)
        if kept is None or narrow:
            results.settle(self._only_in(index))
            return
        kept.put_gradients(index, self._gradients, self._beside)
        results.settle(self._only_in(index), lambda owners, found: kept.put(index, owners, found))

    def _met_elsewhere(self, index: int) -> list[tuple[int, float]]:
        """How much was seen of weights that are not only in this block."""
        own = {id(one) for one in self._only_in(index)}
        others = [one for one in self._capture.weights.tracked if id(one) not in own]
        return [
            (
                sum(layer.positions for layer in one.layers.values()),
                0.0 if one.whole is None else float(one.whole.columns.values.sum()),
            )
            for one in others
        ]

    def _placed(self, tensors: Iterable[torch.Tensor]) -> AbstractContextManager[None]:
        return placed(tensors, self._means.device, wide=self._means.wide)

    def _begin(self, part: int, widest: int) -> None:
        trim_heap()
        room = Room(self._means.memory, self._means.scratch)
        self._capture.begin(part, room, min(widest, self._means.widest))

    def _shelf(self, nbytes: int, *, narrow: bool = False) -> Shelf:
        """An empty one; in a file if those that are held with it take `nbytes` and that is much."""
        spill = nbytes > self._means.memory
        return Shelf(spill=spill, folder=self._means.scratch, narrow=narrow)

    def _entered(self, batches: Sequence[Batch], cutting: Cutting | None) -> Shelf:
        with self._placed(self._outside):
            self._begin(0, OUTSIDE)
            found = [*enter(self._chain, batches, self._capture, cutting)]
        size = 4 * sum(hidden.numel() for _, hidden in found)
        shelf = self._shelf(size * (len(self._chain) + 1))
        for batch, hidden in found:
            self._batches.append(batch)
            narrow = self._means.wide and hidden.is_floating_point()
            shelf.put(hidden.float() if narrow and hidden.itemsize < 4 else hidden)
        return shelf

    def _forward(self, shelf: Shelf) -> Shelf:
        """Keep what enters each block; gives what the last one gave."""
        import torch

        for index in range(len(self._chain)):
            # Exact values go on; of what is in files, values of half the size are kept.
            kept = self._shelf(1 << 62, narrow=True) if shelf.spilled else shelf
            after = self._shelf(4 * shelf.values * (len(self._chain) + 1))
            with torch.no_grad(), self._placed(held_tensors(self._chain.blocks[index])):
                for number, batch in enumerate(self._batches):
                    hidden = shelf.get(number)
                    if kept is not shelf:
                        kept.put(hidden)
                    entered, _ = with_leaves(batch, self._moved)
                    after.put(self._ran(index, batch, entered, self._moved(hidden)))
                    self._done()
            if kept is not shelf:
                shelf.close()
            self._entering.append(kept)
            shelf = after
        return shelf

    def _ran(
        self, index: int, batch: Batch, entered: Entered, hidden: torch.Tensor
    ) -> torch.Tensor:
        """A block's output; it may change its input in place."""
        with explained(f"{batch.where}: {self._chain.names[index]} failed", batch.given):
            return self._chain.run(index, entered, hidden.clone())

    def _head(self, last: Shelf) -> None:
        """From the output down to what the last block gave."""
        import torch

        passes = self._what.passes
        self._gradients = self._handed(last)
        with self._placed(self._outside):
            self._begin(len(self._chain) + 1, OUTSIDE)
            for number, batch in enumerate(self._batches):
                hidden = self._moved(last.get(number))
                found: list[list[torch.Tensor]] = [[] for _ in range(passes)]
                for given, part in head_pieces(batch.given, hidden, batch.head, batch.heads):
                    leaf = part.detach().requires_grad_()
                    for n in self._through_head(batch, given, leaf):
                        found[n].append(_taken(leaf))
                for shelf, parts in zip(self._gradients, found, strict=True):
                    shelf.put(parts[0] if len(parts) == 1 else torch.cat(parts))
                self._done()
        self._beside = [[{} for _ in range(passes)] for _ in self._batches]

    def _through_head(self, batch: Batch, given: object, leaf: torch.Tensor) -> Iterator[int]:
        capture = self._capture

        def forward() -> Iterable[Differentiable]:
            output = self._chain.leave(given, leaf.clone(), batch.where, reached=capture.reached)
            return self._what.outputs(output, given, capture)

        for number in differentiate(capture, forward, batch, self._what.passes):
            if capture.crossed:
                raise CrossedError
            yield number

    def _handed(self, like: Shelf) -> list[Shelf]:
        """For each pass an empty shelf for gradients of what is on a shelf."""
        passes = self._what.passes
        return [self._shelf(8 * passes * like.values) for _ in range(passes)]

    def _block(self, index: int) -> None:
        """Through a block; the gradients of what it gave are known."""
        entering = self._entering.pop()
        handed = self._handed(entering)
        with self._placed(held_tensors(self._chain.blocks[index])):
            self._begin(index + 1, self._means.widest)
            for number, batch in enumerate(self._batches):
                leaf = self._moved(entering.get(number)).detach().requires_grad_()
                entered, beside = with_leaves(batch, self._moved)

                def forward(
                    number: int = number, batch: Batch = batch,
                    leaf: torch.Tensor = leaf, entered: Entered = entered,
                ) -> Iterable[Differentiable]:  # fmt: skip
                    hidden = self._ran(index, batch, entered, leaf)
                    return ((hidden, self._moved(one.get(number))) for one in self._gradients)

                for n in differentiate(self._capture, forward, batch, self._what.passes):
                    handed[n].put(_taken(leaf))
                    _add(self._beside[number][n], beside)
                self._done()
        for shelf in (entering, *self._gradients):
            shelf.close()
        self._gradients = handed

    def _front(self) -> None:
        """From what the front gave to the blocks down to the inputs."""
        with self._placed(self._outside):
            self._begin(0, OUTSIDE)
            for number, batch in enumerate(self._batches):

                def forward(number: int = number, batch: Batch = batch) -> Iterable[Differentiable]:
                    return self._entrances(number, self._chain.enter(batch.given, batch.where))

                for _ in differentiate(self._capture, forward, batch, self._what.passes):
                    pass
                self._done()

    def _entrances(self, number: int, found: Entered) -> Iterator[Differentiable]:
        """For each pass a scalar with the gradients of all that the front gave, if it takes any."""
        held = found.tensors()
        for n, shelf in enumerate(self._gradients):
            pairs = [(found.hidden, self._moved(shelf.get(number)))]
            pairs += [(held[at], gradient) for at, gradient in self._beside[number][n].items()]
            parts = [
                (tensor * gradient).sum() for tensor, gradient in pairs if tensor.requires_grad
            ]
            if parts:
                yield sum(parts[1:], parts[0]), None

    def _only_in(self, index: int) -> list[Tracked]:
        """Weights that nothing but a block has."""
        held = {id(one) for one in self._chain.blocks[index].parameters()}
        others = [block for n, block in enumerate(self._chain.blocks) if n != index]
        held -= {id(one) for block in others for one in block.parameters()}
        return [one for one in self._capture.weights.tracked if id(one.weight) in held]

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        device = self._means.device
        return tensor if device is None else tensor.to(device)


def _taken(leaf: torch.Tensor) -> torch.Tensor:
    """The gradient that came to a leaf, which has none afterwards."""
    import torch

    gradient, leaf.grad = leaf.grad, None
    return torch.zeros_like(leaf) if gradient is None else gradient


def _add(sums: dict[int, torch.Tensor], leaves: Mapping[int, torch.Tensor]) -> None:
    """Add to the sums by number what came to leaves."""
    for at, leaf in leaves.items():
        gradient = _taken(leaf)
        sums[at] = sums[at] + gradient if at in sums else gradient
