"""Part after part of a network is run and differentiated: the whole of a small one at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from taut.analysis._capture import Capture
from taut.analysis._watching import watching
from taut.analysis.losses import Differentiable, Differentiated
from taut.networks.calls import explained, run
from taut.networks.chain import Entered
from taut.networks.cuts import Cut

if TYPE_CHECKING:
    import torch

Done: TypeAlias = Callable[[], None]
Forward: TypeAlias = Callable[[], Iterable[Differentiable]]


class CrossedError(Exception):
    """Gradients reach the front past the blocks: for them the network is no chain."""


@dataclass(frozen=True)
class Allowance:
    """What work may take.

    `memory` in bytes, for sums, and once more for what enters blocks; what is beyond goes to files
    in `scratch` (None: where temporary files lie). Parts work on `device` (None: where they are),
    those of half precision in float32 if `wide`. Sides of more than `widest` are diagonal.
    """

    memory: int
    scratch: Path | None
    device: torch.device | None
    wide: bool
    widest: int


@dataclass
class Batch:
    """A batch; `where` names it. Of a chain, what the front makes of it without the hidden state.

    `beside` are the numbers of the tensors of `entered` that take gradients. `head` cuts the batch
    where the head makes so much of it that it is run on a part at a time, `heads` in all.
    """

    given: object
    where: str
    entered: Entered | None = None
    beside: tuple[int, ...] = ()
    head: Cut | None = None
    heads: int = 1


def differentiate(capture: Capture, forward: Forward, batch: Batch, passes: int) -> Iterator[int]:
    """Run forward, again where inputs must be copied, then each backward pass; gives its number.

    What came to the leaves of a pass is to be taken before the next is asked for.
    """
    capture.batch = batch.where
    while True:
        with watching(capture.watch):
            outputs = forward()
        if not capture.again():
            break
        capture.forget()
    for number, (output, direction) in enumerate(outputs):
        with explained(f"{batch.where}: the model's backward pass failed", batch.given):
            output.backward(direction, retain_graph=number + 1 < passes)  # type: ignore[no-untyped-call]
        capture.gradients()
        yield number
    capture.forget()


def sum_whole(
    network: torch.nn.Module,
    batches: Iterable[Batch],
    what: Differentiated,
    capture: Capture,
    done: Done,
) -> None:
    """Sum over a network that is differentiated as one."""
    for batch in batches:

        def forward(batch: Batch = batch) -> Iterable[Differentiable]:
            return what.outputs(run(network, batch.given, batch.where), batch.given, capture)

        for _ in differentiate(capture, forward, batch, what.passes):
            pass
        done()
