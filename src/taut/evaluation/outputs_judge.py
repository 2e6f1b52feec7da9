"""What a changed network of several outputs lost: of what each output tells, in the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.networks import Calibration, run_batch
from taut.networks.calls import samples_of
from taut.networks.other_outputs import OutputCost
from taut.networks.output_roles import output_roles
from taut.networks.output_vectors import Distance, Kind, vectors_of
from taut.networks.outputs import float_parts

if TYPE_CHECKING:
    import torch

_HELD: Final = 256 << 20  # bytes of the original's outputs


@dataclass(frozen=True)
class OutputsJudge:
    """Judges by every output on calibration batches; 0 is nothing lost, 1 all that they tell."""

    pairs: tuple[tuple[object, Mapping[str, torch.Tensor]], ...]
    kinds: Mapping[str, Kind]
    distances: Mapping[str, Distance]
    samples: int
    by: str = "share of what outputs tell"
    base: float = 0.0

    @classmethod
    def of(
        cls, module: torch.nn.Module, calibration: Calibration, most: int
    ) -> OutputsJudge | None:
        """The judge that holds the outputs for some `most` samples; None of a single output."""
        kinds = {place: one.kind for place, one in output_roles(module, calibration).items()}
        if len(kinds) < 2:
            return None
        every = max(1, -(-calibration.samples // most))
        costs = {place: OutputCost(kind) for place, kind in kinds.items()}
        pairs: list[tuple[object, Mapping[str, torch.Tensor]]] = []
        held, samples = 0, 0
        for number, batch in enumerate(calibration):
            if number % every or held >= _HELD:
                continue
            found = _vectors(module, batch, kinds)
            for place, one in found.items():
                costs[place].add(one)
                held += one.numel() * one.element_size()
            pairs.append((batch, found))
            samples += samples_of(batch)
        distances = {place: one.distance for place, one in costs.items()}
        return cls(tuple(pairs), kinds, distances, samples)

    def drop(self, module: torch.nn.Module) -> float:
        """The mean over positions, and over the outputs."""
        lost, positions = dict.fromkeys(self.kinds, 0.0), dict.fromkeys(self.kinds, 0)
        for batch, before in self.pairs:
            after = _vectors(module, batch, self.kinds)
            for place, one in before.items():
                gone = one.new_zeros(0, one.shape[1])  # as where there are other vectors
                lost[place] += float(self.distances[place](after.get(place, gone), one))
                positions[place] += len(one)
        shares = [lost[place] / max(1, count) for place, count in positions.items()]
        return sum(shares) / len(shares)


def _vectors(
    module: torch.nn.Module, batch: object, kinds: Mapping[str, Kind]
) -> dict[str, torch.Tensor]:
    """Each output as float32 (live positions, width)."""
    import torch

    with torch.no_grad():
        parts = float_parts(run_batch(module, batch))
    return {
        place: vectors_of(parts[place], batch, kind)
        for place, kind in kinds.items()
        if place in parts
    }
