"""What a calibrated run takes, stage after stage, from the shapes of its model and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from taut.analysis.curvature import MEMORY, WIDEST
from taut.analysis.foretold import (
    BlockShapes,
    Needs,
    blocks_by_name,
    foretell,
    hidden_width,
    values_through,
)
from taut.networks.chain_cutting import POSITIONS, VALUES
from taut.networks.head_parts import AT_ONCE

LARGE: Final = 1 << 25
"""Weights, from which a network of blocks is rounded in one pass, without copies."""

_SINGLE: Final = 4  # bytes of a float32
_WEIGHT: Final = 14  # of a small network: a copy, what is rounded, what that decodes to
_ROUNDED: Final = 1.25  # an index of a large one
_INDICES: Final = 256 << 20  # bytes of indices in memory, as calibration/index_shelf.py has them
_CARRIED: Final = 256 << 20  # of hidden states on their way, as calibration/carried.py
_FACTORS: Final = 1 << 29  # of factors that are kept, as calibration/matrix_forms.py
_FORMS: Final = 1 << 27  # of forms, as analysis/curvature.py
_AT_WORK: Final = 3  # times a tensor while it is rounded or coded: it, a copy, what comes of it
_KEPT: Final = 3  # times what a block's matrices take and give, as analysis/foretold.py
_HEAD: Final = 10 * (4 * AT_ONCE)  # bytes of a part of the output, of its distance and gradients
_USUAL: Final = 4096  # positions of a batch, where it is not known: as texts are cut into
_BETWEEN: Final = 1.25  # what the heap takes for what is held: freed memory lies in between
_AT_ONCE: Final = 2048  # sides up to which a form is factored in one piece, as transform/forms.py


@dataclass(frozen=True)
class DataShapes:
    """What a network is run on: `positions` in all, in the largest `batch`, and in a `sample`.

    `kept` are bytes that a backward pass takes of the largest batch, `entering` those of what
    enters the blocks, of all batches, and `handed` those of gradients that wait for a block, where
    they are known. With a `journal` forms lie there, and are mapped.
    """

    positions: int
    batch: int = 0
    sample: int = 0
    kept: int = 0
    entering: int = 0
    handed: int = 0
    journal: bool = False


def run_needs(matrices: Mapping[str, tuple[int, int]], data: DataShapes, *, narrow: bool) -> Needs:
    """What a calibrated run takes beside what the process holds when it starts.

    `matrices` are those that are rounded, by name; `narrow`: they are of half precision.
    """
    collecting = foretell(matrices, narrow=narrow, tokens=data.positions, journal=data.journal)
    weights = sum(rows * columns for rows, columns in matrices.values())
    if not weights:
        return collecting
    shapes = _Shapes.of(matrices)
    shapes = replace(shapes, forms=0) if data.journal else shapes
    rounded = int(_ROUNDED * weights) if data.journal else 0
    if weights >= LARGE:
        return replace(
            collecting,
            memory=max(collecting.memory, _in_one_pass(shapes, data, weights)),
            disk=collecting.disk + _waiting(shapes, data, weights),
            journal=collecting.journal + rounded,
        )
    if not data.positions:  # as many as a usual batch; of disk nothing is known
        usual = foretell(matrices, narrow=narrow, tokens=_USUAL, journal=data.journal)
        collecting = replace(collecting, memory=usual.memory)
    at_once = data.kept or _of_batch(shapes, data)
    held = _WEIGHT * weights + shapes.kept_factors + shapes.forms
    waiting = min(MEMORY, data.entering) + min(MEMORY, data.handed)  # what is beyond lies in files
    memory = int(held + max(collecting.memory, shapes.factoring, at_once + waiting))
    return replace(collecting, memory=memory, journal=collecting.journal + rounded)


@dataclass(frozen=True)
class _Shapes:
    """Bytes that the matrices of a network take on their way."""

    blocks: list[BlockShapes]
    outside: BlockShapes
    largest: int  # the largest matrix in float32
    forms: int  # in memory
    kept_factors: int
    factoring: int

    @classmethod
    def of(cls, matrices: Mapping[str, tuple[int, int]]) -> _Shapes:
        inside, outside = blocks_by_name(matrices)
        sides = [n for shape in matrices.values() for n in shape if n <= WIDEST]
        widest = max((n for one in inside for shape in one.matrices for n in shape), default=0)
        widest = min(WIDEST, widest or max(sides, default=0))
        forms = _SINGLE * sum(n * n for n in sides)
        most = max(rows * columns for rows, columns in matrices.values())
        return cls(
            inside or [outside],
            outside if inside else BlockShapes(()),
            _SINGLE * most,
            min(_FORMS, forms),
            forms if forms <= _FACTORS else _SINGLE * widest**2,
            _factoring(widest),
        )


def _factoring(side: int) -> int:
    """Bytes that factoring a form takes, as `taut.transform.factor` tells them."""
    return 28 * side**2 if side <= _AT_ONCE else 4 * side**2 + 16_384 * side


def _in_one_pass(shapes: _Shapes, data: DataShapes, weights: int) -> int:
    """The most that a stage after the curvature takes, of a network that is rounded in one pass."""
    hidden = hidden_width(shapes.blocks)
    at_once = _at_once(data, hidden)
    block = max(shapes.blocks, key=lambda one: one.weights)
    own = _SINGLE * (block.weights + _KEPT * at_once * max(map(values_through, shapes.blocks)))
    entering = _SINGLE * at_once * hidden * (len(shapes.blocks) + 1)
    states = min(_CARRIED, _SINGLE * data.positions * hidden)
    front = _SINGLE * shapes.outside.weights
    tensor = int(_AT_WORK * shapes.largest)
    held = shapes.forms + shapes.kept_factors + int(min(_INDICES, _ROUNDED * weights))
    most = held + max(
        shapes.factoring + shapes.largest,
        front + states + max(tensor, own),  # block after block; the size is looked at on the way
        front + states + max(_HEAD + entering, own + entering),
    )
    return int(_BETWEEN * most)


def _waiting(shapes: _Shapes, data: DataShapes, weights: int) -> int:
    """Bytes of indices and hidden states that lie in files."""
    states = 2 * _SINGLE * data.positions * hidden_width(shapes.blocks)
    indices = int(_ROUNDED * weights)
    return (indices if indices > _INDICES else 0) + (states if states > 2 * _CARRIED else 0)


def _at_once(data: DataShapes, hidden: int) -> int:
    """Positions that a block runs on at once: as many as there is room for, of whole samples."""
    room = max(POSITIONS, VALUES // max(1, hidden))
    positions = min(room, data.batch or room, data.positions or room)
    return max(positions, min(data.sample, data.positions))


def _of_batch(shapes: _Shapes, data: DataShapes) -> int:
    """What a backward pass keeps of a batch, of a network that is run as one."""
    positions = data.batch or min(_USUAL, _at_once(data, hidden_width(shapes.blocks)))
    return _SINGLE * _KEPT * positions * sum(map(values_through, [*shapes.blocks, shapes.outside]))
