"""A model that fidelity is measured on: what a codec gets of it, and what judges its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch

from bench.data.tensors import Array

Batch: TypeAlias = dict[str, torch.Tensor] | torch.Tensor


@dataclass(frozen=True)
class Asked:
    """A point that Taut is to reach: a loss of `loss` at no more than `bits` a parameter.

    `peer` names the row whose loss is meant, and `share` the part of its bits, where the loss
    depends on a peer.
    """

    bits: float = 0.0
    loss: float = 0.0
    peer: str = ""
    share: float = 1.0


class Subject(ABC):
    """A model, its calibration data, and its fidelity on held-out data.

    `measures` names what `fidelity` returns, for a table's head; its first is the loss that
    curves are drawn of: not negative but for noise, zero for the original. `floor` is the
    smallest loss that means anything. `weights` are float32 arrays by their names in the file.
    """

    name: str
    network: str  # subjects of one network differ only in calibration
    about: str
    measures: ClassVar[Mapping[str, str]]
    floor: float
    asked: Sequence[Asked]
    weights: dict[str, Array]
    calibration: Sequence[Batch]

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """Return a fresh float32 network with the original weights, in eval mode."""

    @abstractmethod
    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return the measures for other weights of the same names."""

    def distance(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Sum over a batch how far outputs moved: of logits, the divergence of the classes."""
        return torch.nn.functional.kl_div(
            after.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="sum"
        )

    @property
    def parameters(self) -> int:
        """Count the values of all weights: bits are per each of these."""
        return sum(values.size for values in self.weights.values())

    @property
    def loss(self) -> str:
        """Name the measure that curves are drawn of."""
        return next(iter(self.measures))

    def blocks(self) -> list[list[str]]:
        """Name the linear and convolutional layers in the order of computation, by block.

        A block is what calibration walks through at once: the layers that share the first number
        (and what follows it up to the second, where layers are numbered twice) in their names.
        """
        found: dict[str, list[str]] = {}
        for name, layer in self.module().named_modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and (
                f"{name}.weight" in self.weights
            ):
                found.setdefault(_block(name), []).append(name)
        return list(found.values())


def fill(network: torch.nn.Module, weights: Mapping[str, Array]) -> None:
    """Load arrays into a network in place: all that it keeps, a shared one under either name."""
    state = {name: torch.from_numpy(values.copy()) for name, values in weights.items()}
    own = network.state_dict(keep_vars=True)
    given = {id(own[name]) for name in state if name in own}
    lost = [name for name, values in own.items() if id(values) not in given]
    unknown = [name for name in state if name not in own]
    if lost or unknown:
        raise RuntimeError(f"weights do not fit: no {lost}, unknown {unknown}")
    network.load_state_dict(state, strict=False)


def _block(name: str) -> str:
    """Cut a layer's name behind its last number, or take it whole where it has none."""
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[-1] + 1]) if numbers else name
