"""What the files of a sweep are held to: the user's score, the outputs on data, or the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from taut.container.info import Info
from taut.errors import ArgumentError
from taut.loading.load import load
from taut.networks import Calibration, LoadedModel, run_batch
from taut.networks.copies import copy_module
from taut.scoring.results import Metric

if TYPE_CHECKING:
    import torch

_HELD: Final = 256 << 20  # bytes of the original's outputs


class Yardstick(Protocol):
    """Says how good a file is; `measure` says in words by what."""

    @property
    def measure(self) -> str:
        """What the first metric is, for whoever reads it."""

    def original(self) -> tuple[Metric, ...]:
        """The metrics of the model as it is."""

    def of(self, info: Info) -> tuple[Metric, ...]:
        """The metrics of a file, the deciding one first; raises ArgumentError if it has none."""


class ByScore:
    """The user's `score(model)`, given a copy of the network with the values of the file."""

    def __init__(
        self, model: LoadedModel, score: Callable[[torch.nn.Module], object], seed: int
    ) -> None:
        self._model, self._score, self._seed = model, score, seed
        self.measure = "score of the model that the file decodes to"

    def original(self) -> tuple[Metric, ...]:
        """The score of the original."""
        return self._scored(self._model.module)

    def of(self, info: Info) -> tuple[Metric, ...]:
        """The score of a file."""
        return self._scored(network_of(self._model, info.path))

    def _scored(self, module: torch.nn.Module) -> tuple[Metric, ...]:
        from taut.scoring.metrics import score_outcome
        from taut.scoring.user_score import judged

        metrics = score_outcome(judged(self._score, module), seed=self._seed).metrics
        return tuple(replace(one, per_class=()) for one in metrics)


class ByOutputs:
    """How near the outputs on calibration data stay: 1 - sum((y' - y)^2) / sum(y^2)."""

    def __init__(self, model: LoadedModel, calibration: Calibration) -> None:
        self._model = model
        self._pairs: list[tuple[object, torch.Tensor]] = []
        held = 0
        for batch in calibration:
            if held > _HELD:
                break
            outputs = _outputs(model.module, batch)
            self._pairs.append((batch, outputs))
            held += outputs.numel() * outputs.element_size()
        self._power = sum(float(y.double().square().sum()) for _, y in self._pairs)
        if not (math.isfinite(self._power) and self._power > 0):
            raise ArgumentError(
                f"{calibration.name}: the model's outputs are all zero, or not finite; give a "
                "score (--score) to judge it by"
            )
        self.measure = "fidelity: 1 - relative squared error of the outputs on calibration data"

    def original(self) -> tuple[Metric, ...]:
        """1."""
        return (Metric("fidelity", 1.0),)

    def of(self, info: Info) -> tuple[Metric, ...]:
        """The fidelity of a file's outputs."""
        network = network_of(self._model, info.path)
        error = sum(
            float((_outputs(network, batch).double() - y.double()).square().sum())
            for batch, y in self._pairs
        )
        return (Metric("fidelity", _finite(1 - error / self._power)),)


class ByWeights:
    """How near the weights stay, without data: 1 - their relative squared error, by size."""

    def __init__(self, tied: Collection[str]) -> None:
        self._tied = tied
        self.measure = (
            "weight fidelity: 1 - relative squared error of each tensor, weighted by its values"
        )

    def original(self) -> tuple[Metric, ...]:
        """1."""
        return (Metric("weight fidelity", 1.0),)

    def of(self, info: Info) -> tuple[Metric, ...]:
        """The fidelity of a file's weights, as its index tells it."""
        kept = [one for one in info.tensors if one.name not in self._tied]
        values = sum(prod(one.shape) for one in kept)
        error = sum(one.rel_mse * prod(one.shape) for one in kept) / max(1, values)
        return (Metric("weight fidelity", _finite(1 - error)),)


def network_of(model: LoadedModel, file: Path) -> torch.nn.Module:
    """A copy of the network with the values of a Taut file; one tensor is decoded at a time."""
    import torch

    network = copy_module(model.module)
    own: Mapping[str, torch.Tensor] = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    with torch.no_grad():
        for name, tensor in load(file, framework="torch").tensors():
            if name in model.names:
                held = own[model.names[name]]
                held.copy_(tensor.reshape(held.shape))
    return network


def _outputs(module: torch.nn.Module, batch: object) -> torch.Tensor:
    """What the module gives for a batch, as float32; positions that are padding are zero."""
    import torch

    from taut.networks.outputs import find_target

    with torch.no_grad():
        found = find_target(run_batch(module, batch), "features", lambda _: None).tensor.float()
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if isinstance(mask, torch.Tensor) and found.ndim == 3 and mask.shape == found.shape[:2]:
        found = found * (mask != 0)[..., None]
    return found


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ArgumentError("the outputs are not finite")
    return value
