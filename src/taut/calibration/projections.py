"""In how many random directions of the outputs each batch is differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taut.networks.calibration import positions_of
from taut.networks.calls import run
from taut.networks.output_vectors import Kind, vectors
from taut.networks.portions import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

FEWEST: Final = 2
_MOST: Final = 8
_GRADIENTS: Final = 2048  # of the output, that the rows' forms are an estimate from
_POSITIONS: Final = 1 << 14  # whose gradients are taken once more for each direction


def projections_for(module: torch.nn.Module, batches: Sequence[object], kind: Kind) -> int:
    """As many as make 2,048 gradients of the main output, from 2 to 8; `kind` is what it holds.

    Where samples are few, the forms of gradients are mostly chance: of 256 sentences of which a
    network gives one vector each, two directions are 512 gradients (docs/method.md). More of them
    are taken only where that is little work.
    """
    count = sum(map(samples, batches))
    if (most := most_projections(count)) == FEWEST:
        return FEWEST
    import torch

    first = batches[0]
    with torch.no_grad():
        output = run(module, first, "calibration batch 1")
        each = len(vectors(output, first, kind)) / samples(first)
    given = max(1.0, each * count)
    positions = max(1, sum(map(positions_of, batches)))
    return int(min(most, max(FEWEST, min(_GRADIENTS / given, _POSITIONS / positions))))


def most_projections(count: int) -> int:
    """The most that so many samples are given, as each gives one vector at least."""
    return min(_MOST, max(FEWEST, _GRADIENTS // max(1, count)))
