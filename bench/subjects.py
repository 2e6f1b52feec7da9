"""The models that fidelity is measured on: what a codec gets of one, and what judges its work.

minilm_in          the MiniLM sentence encoder, calibrated on texts like the test's
minilm_out         the same, calibrated on few short texts of another kind
minilm_linear      the weights of its encoder's linear layers alone, all else as it was
minilm_linear_out  these, calibrated like minilm_out
resnet20           ResNet-20 on CIFAR-10
gpt2m              a GPT-2-style language model of 2.0 M parameters, head tied to the embedding
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import torch

from tensors import Array

NAMES = ("minilm_in", "minilm_out", "minilm_linear", "minilm_linear_out", "resnet20", "gpt2m")

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


def subject(name: str, thin: int = 1) -> Subject:
    """Build one of `NAMES`, judged by every `thin`-th piece of its test data.

    RuntimeError says what data or package is missing.
    """
    try:
        if name.startswith("minilm"):
            from sentences import MiniLM

            return MiniLM(name, thin)
        if name == "resnet20":
            from images import ResNet20

            return ResNet20(thin)
        from language import GPT2M

        return GPT2M(thin)
    except ImportError as error:
        raise RuntimeError(f"{name}: {error.name or error} is not installed") from None


def asset(path: str) -> Path:
    """Find a file of the bench's data: under $TAUT_ASSETS, or beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "assets"
    found = Path(os.environ.get("TAUT_ASSETS", beside)) / path
    if not found.exists():
        raise RuntimeError(f"{path}: not under $TAUT_ASSETS")
    return found


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
