"""What collecting curvature takes, from shapes alone, before any of it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taut.analysis.curvature import MEMORY, WIDEST
from taut.networks.chain_cutting import OUTPUTS, POSITIONS, VALUES

_SINGLE: Final = 4  # bytes of a float32
_NARROW: Final = 2  # of a bfloat16
_KEPT: Final = 3  # times what a block's matrices take and give: kept, its gradient, and between
_LOGITS: Final = 2.5  # of an output: the values, a direction, what is made of a part of them
_HANDED: Final = 4  # gradients of a hidden state: two directions, of a block and the one above
_PANEL: Final = 4096
_FEW: Final = 1024  # tokens that are run at once where nothing is known of the data
_VOCABULARY: Final = 8192


@dataclass(frozen=True)
class BlockShapes:
    """Matrices (rows, columns) of a block that repeats, or of what lies outside of blocks."""

    matrices: tuple[tuple[int, int], ...]

    @property
    def weights(self) -> int:
        """How many values they have."""
        return sum(rows * columns for rows, columns in self.matrices)

    def sums(self, widest: int) -> int:
        """Entries of their forms' full sides."""
        return sum(n * n for shape in self.matrices for n in shape if n <= widest)


@dataclass(frozen=True)
class Needs:
    """Bytes of memory beside what the process holds and the libraries take, and of disk.

    `disk` is that of temporary files, `journal` that of what is kept beside the file to come.
    """

    memory: int
    disk: int
    journal: int = 0


def blocks_by_name(
    matrices: Mapping[str, tuple[int, int]],
) -> tuple[list[BlockShapes], BlockShapes]:
    """Matrices by their names' first number, and those without one.

    >>> inside, outside = blocks_by_name({"emb": (9, 4), "h.0.a": (4, 4), "h.1.a": (4, 4)})
    >>> len(inside), outside.weights
    (2, 36)
    """
    inside: dict[str, list[tuple[int, int]]] = {}
    outside = []
    for name, shape in matrices.items():
        parts = name.split(".")
        first = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if first is None:
            outside.append(shape)
        else:
            inside.setdefault(".".join(parts[: first + 1]), []).append(shape)
    return [BlockShapes(tuple(one)) for one in inside.values()], BlockShapes(tuple(outside))


def foretell(
    matrices: Mapping[str, tuple[int, int]],
    *,
    narrow: bool,
    tokens: int = 0,
    memory: int = MEMORY,
    journal: bool = False,
) -> Needs:
    """What `collect` takes of a network with these matrices, and so many positions in all.

    `narrow`: the weights are of half precision, and a block's float32 while it works. With a
    `journal` finished forms lie in it, and the gradients that the next block takes.
    """
    inside, outside = blocks_by_name(matrices)
    blocks = inside or [outside]
    hidden = hidden_width(blocks)
    forms = _SINGLE * (sum(one.sums(WIDEST) for one in inside) + outside.sums(_VOCABULARY))
    entering = _SINGLE * tokens * hidden * len(blocks)
    kept = (0 if journal else min(memory, forms)) + min(2 * memory, entering)
    wide = _SINGLE * max(outside.weights, *(one.weights for one in blocks)) if narrow else 0
    at_work = max(_at_work(blocks, hidden, tokens, memory), _at_head(outside, tokens))
    disk = _of_hidden_states(entering, tokens * hidden, memory)
    if journal:
        handed = _HANDED * _SINGLE * tokens * hidden if inside else 0
        return Needs(kept + wide + at_work, disk, forms + handed)
    return Needs(kept + wide + at_work, disk + (forms if forms > memory else 0))


def _of_hidden_states(entering: int, values: int, memory: int) -> int:
    """Bytes of files: what enters each block in half, and of the one at work and the next all."""
    return entering * _NARROW // _SINGLE + 6 * _SINGLE * values if entering > memory else 0


def _at_work(blocks: Sequence[BlockShapes], hidden: int, tokens: int, memory: int) -> int:
    """What a block takes: values on their way through it, its sums, and one product of them."""
    positions = max(POSITIONS, VALUES // max(1, hidden))
    positions = min(positions, tokens) if tokens else positions
    through = max(map(values_through, blocks)) * positions * _KEPT * _SINGLE
    sums = min(memory, 2 * _SINGLE * max(one.sums(WIDEST) for one in blocks))
    widest = max((side for one in blocks for shape in one.matrices for side in shape), default=0)
    product: int = _SINGLE * min(_PANEL, widest) ** 2
    return through + sums + product


def _at_head(outside: BlockShapes, tokens: int) -> int:
    """What the head makes of a part of a batch."""
    widest = max((max(shape) for shape in outside.matrices), default=0)
    sample = widest * min(tokens or _FEW, _FEW // 2)
    part = min(OUTPUTS, widest * tokens) if tokens else OUTPUTS
    return int(_LOGITS * _SINGLE * max(part, sample)) if widest else 0


def hidden_width(blocks: Iterable[BlockShapes]) -> int:
    """The width of a hidden state: the narrowest side that most matrices of a block have."""
    sides = [min(shape) for one in blocks for shape in one.matrices]
    wide = [max(shape) for one in blocks for shape in one.matrices]
    common = [side for side in set(sides + wide) if (sides + wide).count(side) >= len(sides) / 2]
    return min(common, default=max(sides, default=1))


def values_through(block: BlockShapes) -> int:
    """Values that a position has on its way through a block."""
    return sum(rows + columns for rows, columns in block.matrices)
