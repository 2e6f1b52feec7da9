"""Measured sensitivity: one tensor at a time is rounded, the model is run, the tensor put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from taut.analysis.grids import round_to
from taut.io.pytorch import to_numpy
from taut.networks import Calibration, run_batch
from taut.networks.output_kind import output_kind
from taut.networks.output_vectors import logs_of
from taut.networks.outputs import find_target
from taut.scheme import Scheme
from taut.scoring.user_score import ScoreFunction, comparable, judged

if TYPE_CHECKING:
    import torch

Score: TypeAlias = ScoreFunction

SAMPLES: Final = 128  # that outputs are compared on
_HELD: Final = 256 << 20  # bytes of the original's outputs


class DropJudge(Protocol):
    """Says what a changed model lost."""

    @property
    def by(self) -> str:
        """The unit."""

    @property
    def base(self) -> float:
        """The score of the model as it is."""

    @property
    def samples(self) -> int:
        """Calibration samples that it looks at; 0 if it has its own."""

    def drop(self, module: torch.nn.Module) -> float:
        """What was lost; below zero if it was won."""


@dataclass(frozen=True)
class ScoreJudge:
    """Judges by the caller's score of the whole model, higher being better."""

    score: Score
    base: float
    by: str = "score"
    samples: int = 0

    @classmethod
    def of(cls, module: torch.nn.Module, score: Score) -> ScoreJudge:
        """The judge that knows the score of the model as it is."""
        return cls(score, score_of(module, score))

    def drop(self, module: torch.nn.Module) -> float:
        """The score lost."""
        return self.base - score_of(module, self.score)


@dataclass(frozen=True)
class OutputJudge:
    """Judges by the model's outputs on calibration batches: KL of logits, or 1 - cosine."""

    pairs: tuple[tuple[object, torch.Tensor], ...]
    kind: str
    by: str
    samples: int
    base: float = 0.0

    @classmethod
    def of(cls, module: torch.nn.Module, calibration: Calibration) -> OutputJudge:
        """The judge that holds the outputs of the model as it is, spread over the data."""
        import torch

        every = max(1, -(-calibration.samples // SAMPLES))
        pairs: list[tuple[object, torch.Tensor]] = []
        held, samples, kind = 0, 0, "features"
        with torch.no_grad():
            for number, batch in enumerate(calibration):
                if number == 0:
                    kind = output_kind(module, batch, calibration)
                if number % every == 0 and held < _HELD:
                    vectors = _vectors(module, batch, kind)
                    pairs.append((batch, vectors))
                    held += vectors.numel() * vectors.element_size()
                    samples += _first_axis(batch)
        return cls(tuple(pairs), kind, "1 - cosine" if kind == "features" else "KL", samples)

    def drop(self, module: torch.nn.Module) -> float:
        """The mean over positions: nats, or 1 - cosine."""
        import torch
        from torch.nn.functional import cosine_similarity, kl_div

        lost, positions = 0.0, 0
        with torch.no_grad():
            for batch, before in self.pairs:
                after = _vectors(module, batch, self.kind)
                if self.by == "KL":
                    p, q = before.log_softmax(-1), after.log_softmax(-1)
                    lost += float(kl_div(q, p, reduction="sum", log_target=True))
                else:
                    cosine = cosine_similarity(before.double(), after.double(), dim=-1)
                    lost += float((1 - cosine).sum())
                positions += len(before)
        return lost / max(1, positions)


def score_of(module: torch.nn.Module, score: Score) -> float:
    """The caller's score of a model, higher being better.

    Raises:
        ArgumentError: it raised, or gave what is no score.
    """
    return comparable(judged(score, module, copied=False))


def measure_drops(
    module: torch.nn.Module,
    names: Mapping[str, str],
    scheme: Scheme,
    judge: DropJudge,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """What the model loses when one tensor alone is rounded to nearest by `scheme`.

    `names` maps tensors to parameters of the module, which ends as it began.
    """
    drops: dict[str, float] = {}
    for number, (name, parameter) in enumerate(names.items(), 1):
        with _rounded(module.get_parameter(parameter), scheme):
            drops[name] = judge.drop(module)
        if progress is not None:
            progress("measure", number, len(names))
    return drops


@contextmanager
def _rounded(parameter: torch.nn.Parameter, scheme: Scheme) -> Iterator[None]:
    import torch

    original = parameter.detach().clone()
    matrix = to_numpy(original).reshape(len(original), -1)
    changed = torch.from_numpy(round_to(matrix, scheme).values).reshape(original.shape)
    try:
        with torch.no_grad():
            parameter.copy_(changed)
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(original)


def _vectors(module: torch.nn.Module, batch: object, kind: str) -> torch.Tensor:
    """The output as float32 (live positions, width)."""
    import torch

    name = "logits" if kind == "last" else kind
    target = find_target(run_batch(module, batch), name, lambda _: None)
    found = target.tensor.float()
    if kind == "probabilities":
        found = logs_of(found)
    if (
        kind in ("logits", "probabilities") and found.ndim >= 4
    ):  # classes come first, as cross_entropy has them
        found = found.movedim(1, -1)
    if found.ndim < 2:
        found = found.reshape(-1, 1)
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if isinstance(mask, torch.Tensor) and found.ndim == 3 and mask.shape == found.shape[:2]:
        return found[mask != 0]
    return found.reshape(-1, found.shape[-1])


def _first_axis(batch: object) -> int:
    parts = batch.values() if isinstance(batch, Mapping) else batch
    for part in parts if isinstance(batch, (Mapping, tuple, list)) else (batch,):  # type: ignore[attr-defined]
        if shape := tuple(getattr(part, "shape", ())):
            return int(shape[0])
    return 1
