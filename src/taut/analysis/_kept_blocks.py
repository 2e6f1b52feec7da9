"""Blocks of a pass backward that are finished: kept, so that a pass that broke off goes on below.

The forms of a block's weights are one piece, written when the block is through. What goes on into
the block below, the gradients, comes before it, in pieces of its own; those of the block above are
forgotten afterwards. So whenever the work ends, there is what the next block takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from taut.analysis.curvature_arrays import (
    curvature_arrays,
    curvature_from,
    of_number,
    text_array,
    texts_of,
)

if TYPE_CHECKING:
    import torch

    from taut.analysis._shelf import Shelf
    from taut.analysis._tracked import Tracked
    from taut.analysis.metric import Curvature

GRADIENTS: Final = "curvature/gradients/"
"""What keys of gradients begin with; once all is finished nobody takes them."""

_AT_ONCE: Final = 1 << 28  # bytes of gradients in a piece, unless one alone has more
_NEVER: Final = -1  # the stage of a weight that was not used

Beside = list[list[dict[int, "torch.Tensor"]]]


class Pieces(Protocol):
    """Where arrays are kept by a key; what comes back may be read-only."""

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a key; None if they are not there."""

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Keep arrays; gives them back as they lie there, outside of memory."""

    def forget(self, prefix: str) -> None:
        """Remove what is kept by keys that begin so."""


class KeptBlocks:
    """The finished blocks of a pass, in `pieces`."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def take(self, index: int, owners: Sequence[Tracked]) -> list[Curvature] | None:
        """The curvature of a block's weights as it was kept, with their stages; None if it is not.

        Weights are told by their names.
        """
        arrays = self._pieces.get(_block(index))
        if arrays is None or texts_of(arrays["names"]) != [one.names[0] for one in owners]:
            return None
        stages = arrays["stages"].tolist()
        for one, stage in zip(owners, stages, strict=True):
            one.stage = None if stage == _NEVER else stage
        return [curvature_from(of_number(number, arrays)) for number in range(len(owners))]

    def put(
        self, index: int, owners: Sequence[Tracked], found: Sequence[Curvature]
    ) -> list[Curvature]:
        """Keep the curvature of a block's weights; gives it back, with its forms as they lie."""
        stages = [_NEVER if one.stage is None else one.stage for one in owners]
        arrays = {
            f"{number}/{name}": array
            for number, one in enumerate(found)
            for name, array in curvature_arrays(one).items()
        }
        names = text_array([one.names[0] for one in owners])
        kept = self._pieces.put(
            _block(index), {**arrays, "names": names, "stages": np.array(stages, np.int64)}
        )
        self._pieces.forget(_gradients(index + 1))
        return [curvature_from(of_number(number, kept)) for number in range(len(owners))]

    def put_gradients(self, index: int, handed: Sequence[Shelf], beside: Beside) -> None:
        """Keep what the block below takes."""
        arrays: dict[str, np.ndarray] = {}
        count = nbytes = 0
        for name, tensor in _each(handed, beside):
            if arrays and nbytes + tensor.nbytes > _AT_ONCE:
                self._pieces.put(f"{_gradients(index)}{count}", arrays)
                arrays, count, nbytes = {}, count + 1, 0
            arrays[name] = tensor.detach().cpu().numpy()
            nbytes += tensor.nbytes
        self._pieces.put(f"{_gradients(index)}{count}", {**arrays, "last": np.array([1], np.uint8)})

    def gradients(self, index: int, batches: int, handed: Sequence[Shelf]) -> Beside | None:
        """Put them on empty shelves, and give what goes past blocks; None if they are not there."""
        import torch

        found: dict[str, np.ndarray] = {}
        for count in itertools.count():
            arrays = self._pieces.get(f"{_gradients(index)}{count}")
            if arrays is None:
                return None
            found |= arrays
            if "last" in arrays:
                break
        beside: Beside = [[{} for _ in handed] for _ in range(batches)]
        for name, array in found.items():
            kind, *numbers = name.split("/")
            if kind == "beside":
                batch, number, at = map(int, numbers)
                beside[batch][number][at] = torch.from_numpy(np.array(array))
        for number, shelf in enumerate(handed):
            for batch in range(batches):
                shelf.put(torch.from_numpy(np.array(found[f"through/{number}/{batch}"])))
        return beside


def _each(handed: Sequence[Shelf], beside: Beside) -> Iterator[tuple[str, torch.Tensor]]:
    """All gradients, by pass and batch."""
    for batch, passes in enumerate(beside):
        for number, sums in enumerate(passes):
            yield f"through/{number}/{batch}", handed[number].get(batch)
            for at, tensor in sums.items():
                yield f"beside/{batch}/{number}/{at}", tensor


def _block(index: int) -> str:
    return f"curvature/block/{index}"


def _gradients(index: int) -> str:
    return f"{GRADIENTS}{index}/"
