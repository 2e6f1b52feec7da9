"""Rounding block after block, each on what the blocks before it give once they are compressed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from taut.analysis import Curvature
from taut.analysis.layer_inputs import Inputs, collect_inputs
from taut.calibration.rounded_network import RoundedNetwork
from taut.calibration.rounder import Rounder
from taut.calibration.twins import alike
from taut.encoding.on_base import standing
from taut.networks import LoadedModel
from taut.networks.cuts import tensors
from taut.transform import Rounded

_POSITIONS = 24  # for each input: more tell little about a second moment
_DEAD = 1.2  # times the positions that count: where more are met, many of them do not


class InSequence:
    """Rounds all matrices under the dial, block after block; called with a dial."""

    def __init__(
        self,
        rounder: Rounder,
        model: LoadedModel,
        batches: Sequence[object],
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._rounder, self._model = rounder, model
        self._batches, self._progress = batches, progress
        dialled = {n: m for n, m in rounder.matrices.items() if m.scheme.bits is None}
        known = {n: m.curvature.stage for n, m in dialled.items() if m.curvature is not None}
        self._unknown = [name for name in dialled if name not in known]
        self.blocks = blocks_of(known)

    def __call__(self, dial: float) -> dict[str, Rounded]:
        """The matrices as rounded at `dial`."""
        rounder, student = self._rounder, RoundedNetwork(self._model)
        own = [n for n in rounder.found if rounder.matrices[n].scheme.bits is not None]
        self._show(student, rounder.found, own)
        found = rounder.rounded(self._unknown, dial)
        for number, block in enumerate(self.blocks, 1):
            # What comes first sees no compressed block.
            anew = rounder.rounded(block, dial, self._seen(block, student) if number > 1 else {})
            self._show(student, anew, block)
            found |= anew
            if self._progress:
                self._progress("sequence", number, len(self.blocks))
        return found

    def _show(
        self, student: RoundedNetwork, found: dict[str, Rounded], names: Iterable[str]
    ) -> None:
        """Give the network these matrices, and those that equal them."""
        rounder = self._rounder
        for name in names:
            decoded, info = found[name].decoded, rounder.matrices[name].info
            for one in alike(name, rounder.twins):
                shown = standing(rounder.source, replace(info, name=one), decoded)
                student.load({one: shown})

    def _seen(self, block: Sequence[str], student: RoundedNetwork) -> dict[str, Curvature]:
        names = self._model.names
        old = {name: self._rounder.matrices[name].curvature for name in block}
        batches = enough(self._batches, old.values())
        met = collect_inputs(student.module, [names[name] for name in block], batches)
        share = share_of(batches, self._batches)
        new = {name: seen(old[name], met.get(names[name]), share) for name in block}
        return {name: one for name, one in new.items() if one is not None}


def enough(
    batches: Sequence[object], curvature: Iterable[Curvature | None], positions: int = _POSITIONS
) -> list[object]:
    """Of the batches as many as give so many positions for each input, evenly chosen."""
    shares = [
        positions * max(len(one.rows), one.columns.shape[-1]) / max(1, one.positions)
        for one in curvature
        if one is not None and not one.parts
    ]
    count = min(len(batches), math.ceil(len(batches) * max(shares, default=1.0)))
    return [batches[number * len(batches) // count] for number in range(count)]


def share_of(some: Iterable[object], batches: Iterable[object]) -> float:
    """How much of the batches some of them are, by the numbers in their first tensors."""
    one, other = (
        sum(next((part.numel() for part in tensors(batch)), 1) for batch in held)
        for held in (some, batches)
    )
    return one / max(1, other)


def blocks_of(stages: Mapping[str, int]) -> list[list[str]]:
    """Tensors in the order of their first use, by block: names alike up to their last number.

    >>> blocks_of({"emb.weight": 0, "l.0.a.weight": 1, "l.0.b.weight": 2, "l.1.a.weight": 3})
    [['emb.weight'], ['l.0.a.weight', 'l.0.b.weight'], ['l.1.a.weight']]
    """
    found: dict[str, list[str]] = {}
    for name in sorted(stages, key=lambda one: (stages[one], one)):
        found.setdefault(_block(name), []).append(name)
    return list(found.values())


def _block(name: str) -> str:
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else name


def seen(
    curvature: Curvature | None, inputs: Inputs | None, share: float = 1.0
) -> Curvature | None:
    """The curvature with its inputs' side as the compressed network has it; None if it has none.

    Weights that are used in several ways keep the curvature that sums them, and so do those whose
    outputs do not count at many positions: padding that no mask names, all but one token of a
    network that classifies by it. Inputs tell nothing of that, gradients do. `share` of the
    batches of the curvature were met.
    """
    if curvature is None or inputs is None or "+" in curvature.kind:
        return None
    if inputs.positions > _DEAD * share * curvature.positions:
        return None
    side = curvature.rows if inputs.swapped else curvature.columns
    if side.shape != inputs.moment.shape:
        return None
    if inputs.swapped:
        return replace(curvature, rows=inputs.moment)
    return replace(curvature, columns=inputs.moment)
