"""What an evaluation found, as plain frozen data; `to_json` gives JSON values of the same names.

Units: bytes, seconds, joules; scores are in the metric's own unit. `None` stands for what was not
asked for or cannot be measured, and a note says which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from taut.pictured import Pictured

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


@dataclass(frozen=True)
class Metric:
    """One number: `low` and `high` bound its 95 % confidence interval, where one can be had.

    `better` says which way is good. `per_class` has one value a class, in the order of `classes`
    of its `Scores`.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower"] = "higher"
    per_class: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scores:
    """What a score function gave of one model; the first metric is the one that decides.

    `confusion` has a row a true class and a column a predicted one, counts of samples.
    """

    metrics: tuple[Metric, ...]
    samples: int | None = None
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Paired:
    """Two models on the same samples; `difference` is the new score less the original's.

    `agreement` is the fraction of samples on which both say the same. `gained` were wrong in the
    original alone, `lost` are wrong in the new one alone; `p_value` is McNemar's exact test of
    these two (a paired bootstrap's where samples are neither right nor wrong).
    """

    metric: str
    difference: float
    low: float | None
    high: float | None
    agreement: float | None = None
    gained: int | None = None
    lost: int | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class LayerFidelity:
    """How near a layer's output stayed: mean cosine and relative squared error.

    `own_rel_mse` is the error that the layer makes by itself, given the original's inputs: what
    it adds; `rel_mse` has also what came from the layers before.
    """

    name: str
    kind: str
    cosine: float
    rel_mse: float
    own_rel_mse: float


@dataclass(frozen=True)
class OutputFidelity:
    """How near one output beside the main one stayed; `name` is its key or number (`heads.1`).

    `kl` is None where it holds no logits or probabilities.
    """

    name: str
    cosine: float
    rel_mse: float
    max_error: float
    kl: float | None


@dataclass(frozen=True)
class Fidelity:
    """Outputs of two models on the same inputs, without labels.

    The first figures are the main output's, `others` have those beside it; it has a `name` where
    there are several. `kl` is the mean KL divergence in nats of softened outputs, None where
    outputs are no logits; `layers` are in the order in which they run, `left_out` says by name why
    others are not there.
    """

    samples: int
    cosine: float
    rel_mse: float
    max_error: float
    kl: float | None
    layers: tuple[LayerFidelity, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    others: tuple[OutputFidelity, ...] = ()

    @property
    def worst(self) -> LayerFidelity | None:
        """The layer that adds the most error by itself; NaN, an error that is none, is the most."""
        return max(self.layers, key=lambda layer: _most(layer.own_rel_mse), default=None)


@dataclass(frozen=True)
class Speed:
    """Latency of one call in seconds (median and 95th percentile), throughput in samples/s."""

    p50: float
    p95: float
    throughput: float
    batch: int
    threads: int
    warmup: int
    runs: int
    runtime: str


@dataclass(frozen=True)
class Memory:
    """Bytes: of the file, of the loaded tensors, and the most that a forward pass added to them.

    `tensors` are the loaded bytes by name. `device` tells where ("cpu", "cuda:0").
    """

    file: int | None
    resident: int
    peak: int | None
    device: str
    tensors: Mapping[str, int]


@dataclass(frozen=True)
class Energy:
    """Joules of one call and how they were had.

    `source` is "nvml", "rapl" or "estimate" (CPU seconds times a stated power); None where nothing
    here can measure it, and `note` says why.
    """

    joules: float | None
    source: Literal["nvml", "rapl", "estimate"] | None
    note: str


@dataclass(frozen=True)
class Subject:
    """One of the two models of an evaluation, and all that was measured of it."""

    name: str
    size: int | None
    parameters: int | None
    scores: Scores | None = None
    speed: Speed | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    load_seconds: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True, repr=False)
class Evaluation(Pictured):
    """A model, and the one it is held against (None where there is none)."""

    model: Subject
    original: Subject | None = None
    paired: tuple[Paired, ...] = ()
    fidelity: Fidelity | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """The evaluation as JSON values; the keys are part of the interface."""
        tree = plain(self)
        assert isinstance(tree, dict)
        return tree


def _most(error: float) -> float:
    return math.inf if math.isnan(error) else error


def plain(found: object) -> JsonValue:
    """Data of this room as JSON values; numbers that are not finite become null.

    >>> plain(Metric("accuracy", 0.5))["value"]
    0.5
    """
    if is_dataclass(found) and not isinstance(found, type):
        return {one.name: plain(getattr(found, one.name)) for one in fields(found)}
    if isinstance(found, Mapping):
        return {str(key): plain(value) for key, value in found.items()}
    if isinstance(found, tuple | list):
        return [plain(value) for value in found]
    return _plain_value(found)


def _plain_value(found: object) -> JsonValue:
    """One value that holds no others."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, Path):
        return str(found)
    if found is None or isinstance(found, bool | int | str):
        return found
    raise TypeError(f"{type(found).__name__} is no plain data")
