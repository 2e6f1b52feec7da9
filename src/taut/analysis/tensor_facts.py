"""What an analysis found: a model in numbers, tensor by tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from taut.analysis.sensitivity import Sensitivity
from taut.analysis.statistics import Bound, Distribution
from taut.pictured import Pictured

VERSION = 1


@dataclass(frozen=True)
class Prediction:
    """A tensor rounded to nearest by a scheme: its bits per value, its error, what that costs.

    `rel_mse` is sum((w - v)^2) / sum(w^2); `loss` is tr(R E C E^T) for a sample, None where the
    curvature is not known.
    """

    bits: float
    rel_mse: float
    loss: float | None = None


@dataclass(frozen=True)
class TensorFacts:
    """One tensor.

    `share` is of the model's bytes; `module` the kind of layer that holds it, "" if not known;
    `tied` and `equal` name the tensor that carries its data, or that has the same values ("" if
    none); `lossless` estimates its bytes bit-exactly coded. `predictions` are by scheme. `drop`
    is what the model lost when this tensor alone was rounded, None if that was not measured.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    share: float
    module: str
    tied: str
    equal: str
    lossless: int
    distribution: Distribution | None
    bounds: tuple[Bound, ...]
    sensitivity: Sensitivity | None
    predictions: Mapping[str, Prediction]
    drop: float | None = None


@dataclass(frozen=True)
class Calibrated:
    """The data that curvature was collected on."""

    name: str
    samples: int
    batches: int
    digest: str


@dataclass(frozen=True)
class Measured:
    """How each tensor alone, rounded by `scheme`, changed the model.

    `by` is "score", "1 - cosine" or "KL"; `base` the score of the model as it is (0 for the
    others); `correlation` Spearman's of what was measured with what was predicted over
    `tensors`, None where nothing was predicted.
    """

    scheme: str
    by: str
    base: float
    samples: int
    tensors: int
    correlation: float | None


@dataclass(frozen=True, repr=False)
class Report(Pictured):
    """A model: sizes in bytes, `memory` what compressing it takes, tied tensors counted once.

    `lossless` estimates the bit-exact file; `notes` are about the model as a whole.
    """

    model: str
    parameters: int
    bytes: int
    lossless: int
    memory: int
    tensors: tuple[TensorFacts, ...]
    calibrated: Calibrated | None = None
    measured: Measured | None = None
    notes: tuple[str, ...] = ()
    version: int = VERSION

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes whose cost was predicted for matrices, from the coarsest on."""
        tried = [tuple(facts.predictions) for facts in self.tensors]
        return max(tried, key=len, default=())

    @property
    def stored(self) -> tuple[TensorFacts, ...]:
        """The tensors that a file has data of: all but the tied ones."""
        return tuple(facts for facts in self.tensors if not facts.tied)

    def loss(self, scheme: str) -> float:
        """The predicted loss of a sample with every matrix rounded by `scheme`."""
        found = [facts.predictions.get(scheme) for facts in self.stored]
        return sum(one.loss for one in found if one is not None and one.loss is not None)

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values; the keys are part of the interface."""
        tree: dict[str, object] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return tree
