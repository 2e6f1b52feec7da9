"""What the files of a sweep are held to: the user's score, the outputs on data, or the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from taut.container.info import Info
from taut.errors import ArgumentError
from taut.loading.load import load
from taut.networks import Calibration, LoadedModel, run_batch
from taut.networks.chosen_outputs import OutputShares
from taut.networks.copies import copy_module
from taut.networks.output_roles import ALL_ALIKE, output_roles
from taut.networks.outputs import as_real, find_target, float_parts
from taut.scoring.results import Metric

if TYPE_CHECKING:
    import torch

Outputs: TypeAlias = "dict[str, torch.Tensor]"
"""Tensors by the places that they have in a model's output."""

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
    """How near the outputs on calibration data stay: 1 - sum((y' - y)^2) / sum(y^2).

    Of several outputs it is the mean, each with what it counts by `shares`.
    """

    def __init__(
        self, model: LoadedModel, calibration: Calibration, shares: OutputShares = ALL_ALIKE
    ) -> None:
        self._model = model
        self._counts = _counting(model, calibration, shares)
        self._pairs: list[tuple[object, Outputs]] = []
        held = 0
        for batch in calibration:
            if held > _HELD:
                break
            outputs = _outputs(model.module, batch, self._counts)
            self._pairs.append((batch, outputs))
            held += sum(one.numel() * one.element_size() for one in outputs.values())
        powers = _summed(outputs for _, outputs in self._pairs)
        self._powers = {at: one for at, one in powers.items() if math.isfinite(one) and one > 0}
        if not self._powers:
            raise ArgumentError(
                f"{calibration.name}: the model's outputs are all zero, or not finite; give a "
                "score (--score) to judge it by"
            )
        several = f"{len(self._powers)} " if len(self._powers) > 1 else ""
        self.measure = (
            f"fidelity: 1 - relative squared error of the {several}outputs on calibration data"
        )

    def original(self) -> tuple[Metric, ...]:
        """1."""
        return (Metric("fidelity", 1.0),)

    def of(self, info: Info) -> tuple[Metric, ...]:
        """The fidelity of a file's outputs."""
        network = network_of(self._model, info.path)
        errors = _summed(
            _differences(_outputs(network, batch, self._counts), old) for batch, old in self._pairs
        )
        whole = sum(self._counts[at] for at in self._powers)
        lost = sum(self._counts[at] * errors[at] / one for at, one in self._powers.items()) / whole
        return (Metric("fidelity", _finite(1 - lost)),)


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


def _counting(
    model: LoadedModel, calibration: Calibration, shares: OutputShares
) -> dict[str, float]:
    """What the outputs count, by their places; "" is a single one, the main one."""
    roles = output_roles(model.module, calibration, shares=shares)
    if len(roles) == 1:
        return {"": 1.0}
    return {place: one.share for place, one in roles.items() if one.share}


def _outputs(module: torch.nn.Module, batch: object, places: Collection[str]) -> Outputs:
    """What the module gives for a batch, as float32; positions that are padding are zero."""
    import torch

    with torch.no_grad():
        output = run_batch(module, batch)
    if set(places) == {""}:
        found = {"": find_target(output, "features", lambda _: None).tensor}
    else:
        parts = float_parts(output)
        found = {place: parts[place] for place in places if place in parts}
    return {place: _unpadded(as_real(one), batch) for place, one in found.items()}


def _differences(new: Outputs, old: Outputs) -> Outputs:
    """What the original's outputs differ by; all of one that is no more, or of another shape."""
    return {
        place: one.double() - new[place].double()
        if place in new and new[place].shape == one.shape
        else one
        for place, one in old.items()
    }


def _unpadded(tensor: torch.Tensor, batch: object) -> torch.Tensor:
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if isinstance(mask, torch.Tensor) and tensor.ndim == 3 and mask.shape == tensor.shape[:2]:
        tensor = tensor * (mask != 0)[..., None]
    return tensor.float().masked_fill(tensor == -torch.inf, 0)  # a class that is forbidden


def _summed(outputs: Iterable[Outputs]) -> dict[str, float]:
    """The squares of outputs, summed up by place."""
    found: dict[str, float] = {}
    for each in outputs:
        for place, one in each.items():
            found[place] = found.get(place, 0.0) + float(one.double().square().sum())
    return found


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ArgumentError("the outputs are not finite")
    return value
