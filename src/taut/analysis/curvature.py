"""How much the loss minds an error in each weight: second moments from one pass over the data.

For a weight matrix W with error E the loss of a sample rises by about tr(R E C E^T) (the Kronecker
factors of Martens and Grosse 2015): of a linear layer y = W x, C = H = mean of x x^T over positions
and R = G = sum over a sample's positions of g g^T, with g the gradient of the output y.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.analysis._capture import Capture
from taut.analysis._gram import Room
from taut.analysis._kept_blocks import KeptBlocks, Pieces
from taut.analysis._parts import Allowance, Batch, CrossedError, sum_whole
from taut.analysis._streamed import OUTSIDE, Streamed
from taut.analysis._summed import Results
from taut.analysis._tracked import Tracked
from taut.analysis.losses import Differentiated
from taut.analysis.metric import Curvature
from taut.analysis.prepared import matrices, prepared
from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.block_calls import AnotherWayError
from taut.networks.calls import fitted, run, samples_of
from taut.networks.chain import Chain
from taut.networks.chain_cutting import find_cutting
from taut.networks.chain_precision import runs_wide
from taut.networks.find_chain import find_chain
from taut.networks.output_kind import vocabularies_of
from taut.networks.output_vectors import Kind
from taut.networks.outputs import OUTPUTS, Loss
from taut.networks.portions import Portion
from taut.networks.precision import has_narrow, held_tensors, placed

if TYPE_CHECKING:
    import torch

__all__ = ["MEMORY", "WIDEST", "Curvature", "collect"]

Progress: TypeAlias = Callable[[str, int, int], object]  # stage, steps done, steps in all

MEMORY: Final = 1 << 27
WIDEST: Final = 32_768
NO_SAMPLES: Final = "calibration: there are no samples; give at least one batch"


def collect(
    module: torch.nn.Module,
    batches: Callable[[], Iterable[object]],
    *,
    loss: Loss | None = None,
    output: str | Mapping[str, Kind] = "auto",
    shares: Mapping[str, float] | None = None,
    projections: int = 2,
    seed: int = 0,
    names: Collection[str] | None = None,
    widest: int = WIDEST,
    memory: int = MEMORY,
    scratch: Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    pieces: Pieces | None = None,
) -> dict[str, Curvature]:
    """The curvature of every weight matrix of a module, by parameter name; tied names share one.

    A batch is given to the module as a dict of keyword arguments, a tuple or list of arguments, or
    the one argument; its samples are the first axis of its first tensor. Without a `loss` the
    model's own output is kept: `output` "logits" takes the Fisher of its predictions, "features"
    the Gauss-Newton matrix of the squared error, each by `projections` random backward passes;
    "probabilities" are a softmax. "auto" tells by the values of the first batch
    (`taut.networks.output_kind`), a mapping says it of every output by its place. `shares` are what
    outputs count, the main one first, and no other does; without them all count alike.
    `loss(output, batch)` gives one value for each sample, or their sum: a
    mean makes the curvature smaller by the square of the batch's size, which leaves the layers'
    shares as they are if batches are equally large.

    A network whose blocks run one after the other (`taut.networks.find_chain`) is differentiated
    block after block, with one block in memory at a time; any other one as a whole.

    Sides wider than `widest`, outside of blocks than 8,192, are diagonal, and a note says so. What
    is beyond `memory` bytes goes to temporary files in `scratch`, as a rule what enters each block
    as bfloat16. Parts work on `device`, such as "cuda", one after the other. The module runs in
    evaluation mode (in float32 if it is narrower and runs so); it is left as it was. In `pieces`
    blocks are kept that are finished, and taken over from there: what is kept has to be of the same
    network, data and options.

    Raises:
        ArgumentError: torch is missing, no samples, an unknown name, a batch the module rejects,
            or NaN or infinite values (the message names the weight and the batch).

    >>> import torch
    >>> layer = torch.nn.Linear(2, 3)
    >>> batch = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> found = collect(layer, lambda: [batch])["weight"]
    >>> found.columns.tolist(), found.mean_input.tolist(), found.bias, found.notes
    ([[5.0, 0.0], [0.0, 0.0]], [2.0, 0.0], 'bias', ('1 of 2 inputs are always zero',))
    """
    torch = need_extra("torch", "torch", "curvature takes")
    _check(output, projections, widest)
    means = Allowance(memory, scratch, torch.device(device) if device else None, True, widest)
    work = _Work(module, names, means, projections if loss is None else 1, progress, pieces)
    with prepared(module, matrices(module, names), seed):
        given = batches()
        steps = iter(given)
        first = [Batch(batch, _place(given, 1)) for batch in islice(steps, 1)]
        if not first:
            raise ArgumentError(NO_SAMPLES)
        others = (Batch(batch, _place(given, number)) for number, batch in enumerate(steps, 2))

        def what() -> Differentiated:
            generator = torch.Generator().manual_seed(seed)
            known = loss is not None or not isinstance(output, str)
            tokens = frozenset[int]() if known else vocabularies_of(module, first[0].given)
            return Differentiated(loss, output, work.passes, generator, tokens, shares or {})

        chain = find_chain(module, fitted(first[0].given, module))
        if chain is not None:
            listed = [*first, *others]
            try:
                return work.streamed(chain, listed, what())
            except (AnotherWayError, CrossedError):
                return work.whole(listed, what(), len(listed))
        total = len(given) if isinstance(given, Sized) else 0
        return work.whole(itertools.chain(first, others), what(), total)


def _check(output: str | Mapping[str, Kind], projections: int, widest: int) -> None:
    if isinstance(output, str) and output not in OUTPUTS:
        raise ArgumentError(f'output: "{output}" is none of {", ".join(OUTPUTS)}')
    if projections < 1 or widest < 1:
        raise ArgumentError("projections and widest must be at least 1")


@dataclass
class _Work:
    """A module whose curvature is collected, and how."""

    module: torch.nn.Module
    names: Collection[str] | None
    means: Allowance
    passes: int
    progress: Progress | None
    pieces: Pieces | None = None
    samples: int = 0

    def whole(
        self, batches: Iterable[Batch], what: Differentiated, total: int
    ) -> dict[str, Curvature]:
        """The curvature of a network that is differentiated as one; of so many batches, or 0."""
        widest = min(self.means.widest, OUTSIDE)
        tracked = matrices(self.module, self.names)
        number = self.samples = 0

        def done() -> None:
            nonlocal number
            number += 1
            if self.progress:
                self.progress("curvature", number, max(number, total))

        steps = iter(batches)
        first = next(steps)
        wide = has_narrow(self.module) and self._runs_wide(first.given)
        with placed(held_tensors(self.module), self.means.device, wide=wide):
            room = Room(self.means.memory, self.means.scratch)
            capture = Capture(tracked, room, widest)
            fitting = map(self._fitted, itertools.chain([first], steps))
            sum_whole(self.module, fitting, what, capture, done)
        return self._results(tracked, widest).all()

    def _runs_wide(self, batch: object) -> bool:
        """Whether the module runs in float32: one that names the narrow type itself does not."""
        import torch

        with torch.no_grad(), placed(held_tensors(self.module), self.means.device):
            try:
                run(self.module, batch, "in float32")
            except ArgumentError:
                return False
        return True

    def _fitted(self, batch: Batch) -> Batch:
        self.samples += samples_of(batch.given)
        return replace(batch, given=fitted(batch.given, self.module))

    def streamed(
        self, chain: Chain, batches: list[Batch], what: Differentiated
    ) -> dict[str, Curvature]:
        """The curvature of a chain, block after block."""
        self.samples = sum(samples_of(batch.given) for batch in batches)
        first = batches[0].given
        wide = has_narrow(self.module) and runs_wide(chain, first, self.means.device)
        means = replace(self.means, wide=wide)
        cutting = find_cutting(chain, first) if what.loss is None else None
        tracked = matrices(self.module, self.names)
        capture = Capture(tracked, Room(means.memory), means.widest)
        number = 0

        def done() -> None:
            nonlocal number
            number += 1
            if self.progress:
                self.progress("curvature", number, max(number, streamed.steps))

        kept = None if self.pieces is None else KeptBlocks(self.pieces)
        streamed = Streamed(chain, what, capture, means, done, kept)
        results = self._results(tracked, means.widest)
        streamed.sum(batches, cutting, results)
        return results.all()

    def _results(self, tracked: list[Tracked], widest: int) -> Results:
        if not self.samples:
            raise ArgumentError(NO_SAMPLES)
        named = self.module.named_parameters(remove_duplicate=False)
        biases = {id(parameter): name for name, parameter in named}
        room = Room(self.means.memory, self.means.scratch)
        return Results(tracked, self.samples, self.passes, biases, widest, room)


def _place(given: Iterable[object], number: int) -> str:
    """A batch in messages, by the caller's own number."""
    return f"batch {given.numbers[number - 1] if isinstance(given, Portion) else number}"
