"""What a report tells, as plain frozen data: every part may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from taut.scoring.results import Evaluation
from taut.sweep.pareto import Frontier


@dataclass(frozen=True)
class TensorCost:
    """One tensor: what it took before and takes now, in bytes, and what it lost.

    `rel_mse` is sum((original - decoded)^2) / sum(original^2).
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    before: int
    bytes: int
    bits: float
    rel_mse: float
    dtype: str = ""

    @property
    def values(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    @property
    def layer(self) -> str:
        """The module that holds it: its name without the last part."""
        return self.name.rpartition(".")[0] or self.name


@dataclass(frozen=True)
class Histogram:
    """The values of a tensor, before and after: fractions of them in bins between `edges`.

    `before` is () where the original is not at hand. `levels` are the values that were left and
    `weights` the fraction of the tensor on each; both () where there are too many to draw, and
    `note` says so. `outside` is the fraction of values beyond the edges.
    """

    name: str
    edges: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    levels: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    outside: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Exported:
    """The model in another format: how many tensors have the file's very values, and the check.

    `runtime` says what ran it, "" if nothing did; errors are those of its outputs.
    """

    name: str
    format: str
    size: int
    exact: int
    rounded: int
    runtime: str = ""
    max_error: float | None = None
    rel_mse: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class Story:
    """All that a page shows.

    Sizes are in bytes. `sensitivity` is what each tensor costs when it is rounded, by name, and
    `sensitivity_by` what that is measured in. `chosen` names the point of the frontier that was
    taken, `max_drop` what it was allowed to lose. `command` and `date` say how and when the page
    was made, and `provenance` are pairs of a name and a text, shown in their order.

    >>> Story(size=100, original_size=1200).ratio
    12.0
    """

    title: str = "Compression report"
    size: int | None = None
    original_size: int | None = None
    parameters: int | None = None
    evaluation: Evaluation | None = None
    tensors: tuple[TensorCost, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    sensitivity_by: str = "predicted loss"
    frontier: Frontier | None = None
    chosen: str | None = None
    exports: tuple[Exported, ...] = ()
    plan: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    max_drop: str | None = None
    command: str | None = None
    date: str | None = None

    def completed(self) -> Story:
        """The story with the sizes that only its evaluation, or its trade-off, knows."""
        if self.evaluation is None:
            return self._sized()
        model, original = self.evaluation.model, self.evaluation.original
        before = original.size if original is not None else None
        return replace(
            self,
            size=model.size if self.size is None else self.size,
            original_size=before if self.original_size is None else self.original_size,
            parameters=model.parameters if self.parameters is None else self.parameters,
        )

    def _sized(self) -> Story:
        """The story with the sizes of the point that is chosen, where there is no file."""
        found = self.frontier
        name = self.chosen or (found.knee if found and self.max_drop is None else None)
        if found is None or name is None or self.size is not None:
            return self
        point = found[name]
        parameters = round(8 * point.size / point.bits) if point.bits else None
        return replace(
            self,
            size=point.size,
            original_size=found.original.size,
            parameters=self.parameters or parameters,
        )

    @property
    def ratio(self) -> float | None:
        """Original size over size."""
        if not self.size or self.original_size is None:
            return None
        return self.original_size / self.size

    @property
    def lossless(self) -> bool:
        """Whether every tensor came out bit for bit; False where no tensor is known."""
        return bool(self.tensors) and not any(tensor.rel_mse for tensor in self.tensors)

    @property
    def bits(self) -> float | None:
        """Bits per weight of the whole file."""
        if not self.parameters or self.size is None:
            return None
        return 8 * self.size / self.parameters
