"""What a network gives beside its main output, and how much of each counts.

A loss of the main output alone says nothing of a second head: its weights would be rounded to
nothing. So every output of floats counts, each by its own kind, and alike: in units of what it
costs to lose all that it tells, with what it is in the mean in its place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from taut.networks.measured_output import LEAST
from taut.networks.output_vectors import Distance, Kind, as_unit, of_two_classes
from taut.networks.outputs import (
    FEATURES,
    KeptOutput,
    Maker,
    as_real,
    find_target,
    float_parts,
    told_output,
)

if TYPE_CHECKING:
    import torch

_LEAST: Final = 0.01  # of the most that logits can tell, log C: what they count that tell nothing
_STEADY: Final = 1e-4  # of a mean square: what numbers count that hardly vary


def kept_outputs(
    output: object, kind: str, maker: Maker, handed: Sequence[torch.Tensor] = ()
) -> list[KeptOutput]:
    """The output of `find_target`, and then all others that hold floats and are computed.

    Complex numbers are pairs of reals. What an output has twice counts once. In an output of
    transformers what the main one is computed from (the encoder's states beside the decoder's
    logits) does not count by itself; nor do tensors that were `handed` to blocks that did not run.

    Raises:
        ArgumentError: the output holds no tensor of floats.

    >>> import torch
    >>> z = torch.ones(2, 3, requires_grad=True)
    >>> output = {"logits": 2 * z, "box": 3 * z, "told": torch.ones(2)}
    >>> [(one.place, one.logits) for one in kept_outputs(output, "auto", lambda tensor: None)]
    [('logits', True), ('box', False)]
    """
    main = find_target(output, kind, maker)
    parts = float_parts(output)
    own = next((place for place, one in parts.items() if _is_same(one, main.tensor)), "")
    inner, seen = set[object](), {id(main.tensor), id(parts.get(own))}
    if _of_transformers(output):
        inner = _computed_from(main.tensor)
        seen |= {id(one) for one in handed}
    others = [
        _beside(place, tensor, kind, maker)
        for place, tensor in _each_once(parts, seen)
        if tensor.requires_grad and tensor.numel() and tensor.grad_fn not in inner
    ]
    return [replace(main, place=own), *others]


def _each_once(
    parts: dict[str, torch.Tensor], seen: set[int]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The parts by place, each tensor at its first; without those that were seen."""
    for place, tensor in parts.items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield place, tensor


def _beside(place: str, tensor: torch.Tensor, kind: str, maker: Maker) -> KeptOutput:
    """An output that is not the main one."""
    told = told_output(as_real(tensor), maker, named=place.rpartition(".")[2] == "logits")
    return replace(told, logits=told.logits and kind != "features", place=place)


@dataclass
class OutputCost:
    """What it costs to lose what an output tells, as curvature measures it: a mean over positions.

    Of numbers half their variance about their mean, summed over their width: a mean is a bias's to
    keep. Of logits what they tell of the class: the entropy of the mean chances over the mean
    entropy, in nats. Of fewer than 16 positions there is no mean to go by: zeros then stand for it.

    >>> import torch
    >>> cost = OutputCost("features")
    >>> cost.add(torch.tensor([5.0, 7.0]).repeat(8)[:, None])
    >>> cost.mean, cost.positions
    (0.5, 16)
    """

    kind: Kind
    positions: int = 0
    squares: float = 0.0
    entropy: float = 0.0
    sums: torch.Tensor | None = None
    same: bool = True  # whether all vectors are of one width

    def add(self, vectors: torch.Tensor) -> None:
        """Add vectors (positions, width) of the original, as `vectors_of` gives them."""
        z = vectors.detach().double()
        if self.kind == "features":
            z = z.nan_to_num(0.0, 0.0, 0.0)
            self.squares += float(z.square().sum())
        else:
            logs = of_two_classes(z).clamp(min=-1e4).log_softmax(-1)
            z = logs.exp()
            self.entropy -= float((z * logs).sum())
        self.same = self.same and (self.sums is None or len(self.sums) == z.shape[1])
        if self.same:
            self.sums = z.sum(0) if self.sums is None else self.sums + z.sum(0)
        self.positions += len(z)

    @property
    def mean(self) -> float:
        """The cost of a position; 0 where there is none."""
        if not self.positions or self.sums is None:
            return 0.0
        known = self.same and self.positions >= LEAST
        mean = self.sums / self.positions
        if self.kind == "features":
            square = self.squares / self.positions
            about = square - float(mean.square().sum()) if known else square
            return max(about, _STEADY * square) / 2
        most = math.log(len(mean))
        whole = -float((mean * mean.clamp_min(1e-300).log()).sum()) if known else most
        return max(whole - self.entropy / self.positions, _LEAST * most)

    @property
    def total(self) -> float:
        """The cost of all positions."""
        return self.mean * self.positions

    @property
    def distance(self) -> Distance:
        """The distance from an original that is 1 where, in the mean, all is lost."""
        doubled = 2 if self.kind == "features" else 1
        return Distance(self.kind, as_unit(doubled * self.mean))


def computed(kept: list[KeptOutput]) -> list[KeptOutput]:
    """Without a main output that merely comes first and is constant, as anchors before boxes."""
    main, *others = kept
    called = main.place.rpartition(".")[2] in FEATURES
    return others if others and not called and not main.tensor.requires_grad else kept


def _is_same(part: torch.Tensor, main: torch.Tensor) -> bool:
    """Whether a part is the main output, or the complex numbers that it is the pairs of."""
    if part is main:
        return True
    return part.is_complex() and part.data_ptr() == main.data_ptr() and part.numel() > 0


def _of_transformers(output: object) -> bool:
    generic = sys.modules.get("transformers.utils.generic")
    kind = getattr(generic, "ModelOutput", None)
    return kind is not None and isinstance(output, kind)


def _computed_from(tensor: torch.Tensor) -> set[object]:
    """The steps of the graph that a tensor was computed by, but for its own."""
    found: set[object] = set()
    left = [tensor.grad_fn]
    while left:
        step = left.pop()
        for before, _ in step.next_functions if step is not None else ():
            if before is not None and before not in found:
                found.add(before)
                left.append(before)
    return found - {tensor.grad_fn}
