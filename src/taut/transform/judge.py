"""The loss of a changed model beside the original, over batches that are gone through often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.calls import explained, run
from taut.networks.chosen_outputs import only
from taut.networks.other_outputs import OutputCost
from taut.networks.output_vectors import Distance, Kind, Span, vectors, vectors_of
from taut.networks.outputs import Loss, float_parts
from taut.networks.portions import Portion, samples
from taut.networks.straight import straight

if TYPE_CHECKING:
    import torch

_WHERE: Final = "calibration batch"
_CACHE: Final = 256 << 20  # bytes of the original's vectors


@dataclass(frozen=True)
class Slope:
    """A loss of a batch, and its gradients: None by what it does not depend on."""

    total: float
    gradients: Sequence[torch.Tensor | None]


class Judge:
    """The loss over any of `batches`, and in the mean over `judges`.

    `kind` is that of the main output, `others` are those of the others by their places. Of several
    the loss is the sum of what each lost, of what it tells (`OutputCost`), in the mean over its
    positions. `shares` are what each counts, the main one first, and no other does; without them
    all count alike.
    """

    cached = _CACHE

    def __init__(
        self,
        student: torch.nn.Module,
        teacher: torch.nn.Module,
        batches: Sequence[object],
        judges: Sequence[int],
        kind: Kind,
        loss: Loss | None,
        others: Mapping[str, Kind] | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self._student, self._teacher = student, teacher
        self._batches, self._judges = batches, judges
        self._kind, self._loss = kind, loss
        self._others = dict(others or {}) if loss is None else {}
        self._shares = dict(shares or {})
        self._told = [0.0] * (1 + len(self._others))
        self._cache: dict[int, list[torch.Tensor]] = {}
        self._left = self.cached
        if loss is None:
            self._distances = self._of_each() if self._others or self._shares else [self._of_one()]

    def total(self, index: int) -> tuple[torch.Tensor, int]:
        """Return the loss of one batch as a sum, through which gradients flow, and its positions.

        A loss that was given is a mean over samples, and samples are what it is summed over.
        """
        batch = self._batches[index]
        output = self.changed(index)
        if self._loss is not None:
            count = samples(batch)
            with explained("loss: failed", batch):
                return self._loss(output, batch) * count, count
        originals = self._original(index)
        count = len(originals[0])
        counts = [count / max(1, len(original)) for original in originals[1:]]
        return self._apart(self._vectors(output, batch), originals, counts), count

    def slope(self, index: int, tuned: Sequence[torch.nn.Parameter]) -> Slope:
        """Return the loss of one batch as a sum, with its gradients by what is tuned."""
        import torch

        total, _ = self.total(index)
        reached = float(total.detach())
        if not total.requires_grad:
            return Slope(reached, [None] * len(tuned))
        with explained("finishing: the model's backward pass failed"):
            return Slope(reached, [*torch.autograd.grad(total, [*tuned], allow_unused=True)])

    def changed(self, index: int) -> object:
        """What the student gives for a batch."""
        return run(self._student, self._batches[index], self._place(index))

    def given(self, index: int) -> object:
        """What the teacher gives for a batch."""
        return run(self._teacher, self._batches[index], self._place(index))

    @property
    def judges(self) -> Sequence[int]:
        """The numbers of the batches that it judges by."""
        return self._judges

    def mean(self, some: Sequence[int] | None = None) -> float:
        """Return the mean loss over the judges, or some of them; no gradient flows through it."""
        import torch

        self._told = [0.0] * len(self._told)
        with torch.no_grad():
            found = [self.total(index) for index in (self._judges if some is None else some)]
        positions = max(1, sum(count for _, count in found))
        self._told = [one / positions for one in self._told]
        return sum(float(total) for total, _ in found) / positions

    def each(self) -> list[float]:
        """What each output lost, the main one first, where `mean` was asked for last: of several
        as a share of what it tells, of one as `mean`.
        """
        return self._told

    def _of_one(self) -> Distance:
        """The distance of a single output."""
        return Distance.beside(self._kind, (some[0] for i in self._judges
                                            for some in self._originals(i)))  # fmt: skip

    def _of_each(self) -> list[Distance]:
        """The distances of several outputs, in units of what it costs to lose each."""
        costs = [OutputCost(one) for one in (self._kind, *self._others.values())]
        for some in (some for i in self._judges for some in self._originals(i)):
            for cost, original in zip(costs, some, strict=True):
                cost.add(original)
        return [cost.distance for cost in costs]

    def _apart(
        self,
        changed: Sequence[torch.Tensor],
        originals: Sequence[torch.Tensor],
        counts: Sequence[float],
    ) -> torch.Tensor:
        """How far vectors lie apart; one of the others counts as `counts` of the main one's."""
        found = [
            distance(one, original)
            for distance, one, original in zip(self._distances, changed, originals, strict=True)
        ]
        found = [found[0], *(one * count for one, count in zip(found[1:], counts, strict=True))]
        self._told = [
            sum_ + float(one.detach()) for sum_, one in zip(self._told, found, strict=True)
        ]
        if self._shares:
            weighed = zip(found, self._shares.values(), strict=True)
            found = [one * share for one, share in weighed]
        return sum(found[1:], found[0])

    def _vectors(
        self, output: object, batch: object, span: Span | None = None
    ) -> list[torch.Tensor]:
        """Those of the main output, and of each of the others; no number is 0 in the others.

        `span`: the output is that of some positions of the batch.
        """
        output = only(output, self._shares) if self._shares else output
        found = [vectors(output, batch, self._kind, span)]
        parts = float_parts(output) if self._others else {}
        for place, kind in self._others.items():
            one = parts.get(place)
            if one is None:  # an output of its own number of parts
                one = found[0].new_zeros(0, 1)
            plain = vectors_of(one, batch, kind, span)
            found.append(plain if kind != "features" else plain.nan_to_num(0.0, 0.0, 0.0))
        return found

    def _originals(self, index: int) -> Iterator[list[torch.Tensor]]:
        """The original's vectors, in the parts in which they are made."""
        yield self._original(index)

    def _original(self, index: int) -> list[torch.Tensor]:
        """The original's vectors: kept while there is room, else made anew.

        Raises:
            ArgumentError: there is a NaN in them, beside which nothing can be judged.
        """
        import torch

        if index in self._cache:
            return self._cache[index]
        batch = self._batches[index]
        with torch.no_grad():
            output = self.given(index)
            found = self._checked([one.clone() for one in self._vectors(output, batch)], index)
        size = sum(one.numel() * one.element_size() for one in found)
        if size <= self._left:
            self._cache[index] = found
            self._left -= size
        return found

    def _checked(self, found: list[torch.Tensor], index: int) -> list[torch.Tensor]:
        if any(bool(one.isnan().any()) for one in found):
            raise ArgumentError(
                f"{self._place(index)}: the model's output has NaN; leave it out or mend it"
            )
        return found

    def _place(self, index: int) -> str:
        """A batch in messages, by the caller's own number where it is known."""
        numbers = self._batches.numbers if isinstance(self._batches, Portion) else ()
        return f"batch {numbers[index]}" if numbers else _WHERE


@contextmanager
def prepared(
    student: torch.nn.Module, teacher: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]
) -> Iterator[None]:
    """Hold both models in eval mode and let gradients reach `parameters` alone; undo it after."""
    import torch

    modes = [(part, part.training) for model in (student, teacher) for part in model.modules()]
    wanted = [(one, one.requires_grad) for one in student.parameters()]
    student.eval()
    teacher.eval()
    for one, _ in wanted:
        one.requires_grad_(False)
    for one in parameters:
        one.requires_grad_(True)
    try:
        with torch.enable_grad(), straight():
            yield
    finally:
        for part, training in modes:
            part.training = training
        for one, gradient in wanted:
            one.requires_grad_(gradient)
