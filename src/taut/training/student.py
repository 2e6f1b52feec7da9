"""The network in training: a copy whose tensors are fake-quantised, and what the file is made of.

Surprise: recurrent layers keep their weights in a list of their own, which a parametrisation does
not reach; they are trained as they are and rounded afterwards, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from taut.io.names import some_names
from taut.scheme import Scheme
from taut.training.bits import BitEstimate
from taut.training.fake_quant import FakeQuant, LearntSteps, fake_quant

_AS_ONE: Final = (nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
_COARSER: Final = 0.05  # nats: how much larger a step becomes at once


@dataclass
class Twin:
    """One tensor of the network, by all its `names`; `original` is the weight in training."""

    names: tuple[str, ...]
    scheme: Scheme
    original: nn.Parameter
    quant: FakeQuant
    estimate: BitEstimate | None = None

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def taught(self) -> bool:
        """Whether a gradient of the task ever came to any of it."""
        return self.quant.taught

    @torch.no_grad()
    def index(self) -> Tensor | None:
        """The integers that the file would hold now."""
        return self.quant.index(self.original)

    def refresh(self) -> float:
        """Take the bits' tables anew; gives the tensor's bits, 0 where they are not estimated."""
        index = self.index()
        if index is None:
            return 0.0
        if self.estimate is None:
            self.estimate = BitEstimate(index)
        else:
            self.estimate.refresh(index)
        return self.estimate.bits

    def bits(self) -> Tensor | None:
        """The estimated bits with their gradient; None where the scheme has none."""
        ratio = self.quant.ratio(self.original)
        if ratio is None or self.estimate is None:
            return None
        return self.estimate(self.quant.drawn(ratio))

    def untaught(self) -> tuple[int, float]:
        """How many of its numbers no gradient came to, and the bits that they take now."""
        index = None if self.quant.all_taught else self.index()
        if index is None or self.estimate is None:
            return 0, 0.0
        parts = self.estimate.each(index).reshape(len(self.quant.reached), -1)
        missed = parts[~self.quant.reached]
        return missed.numel(), float(missed.sum())

    @torch.no_grad()
    def coarsen(self, bits: float) -> None:
        """Spare so many bits a number by larger steps alone, if its steps are of the dial."""
        quant = self.quant
        if isinstance(quant, LearntSteps) and quant.most is None and bits > 0:
            quant.log_step.add_(min(math.log(2) * bits, _COARSER))

    @torch.no_grad()
    def value(self) -> Tensor:
        """The tensor as it will be decoded."""
        value: Tensor = self.quant(self.original)
        return value


@dataclass
class Student:
    """A network with its twins; `plain` are names of parameters that are trained as floats."""

    module: nn.Module
    twins: list[Twin] = field(default_factory=list)
    plain: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def merge(self) -> nn.Module:
        """Make every tensor what it will be decoded to, and the network an ordinary one again."""
        for owner in list(self.module.modules()):
            for name in list(getattr(owner, "parametrizations", {})):
                parametrize.remove_parametrizations(owner, name, leave_parametrized=True)
        return self.module


def make_student(module: nn.Module, schemes: Mapping[str, Scheme]) -> Student:
    """Fake-quantise, in place, the parameters of `module` that `schemes` name (by its names).

    Tied parameters stay tied: they share weight, step and mask.
    """
    student = Student(module)
    known: dict[int, Twin] = {}
    plain = []
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        owner, attribute = _owner(module, name)
        scheme = schemes.get(name)
        first = known.get(id(parameter))
        if first is not None:
            _tie(owner, attribute, first)
            first.names = (*first.names, name)
        elif scheme is None or not parameter.is_floating_point() or not parameter.numel():
            plain.append(name)
        elif isinstance(owner, nn.RNNBase):
            plain.append(name)
            student.notes.append(f'"{name}" recurrent, so trained as it is and rounded afterwards')
        else:
            known[id(parameter)] = _twin(owner, attribute, name, parameter, scheme)
    student.twins = list(known.values())
    student.plain = tuple(plain)
    student.notes += _left_alone(student)
    return student


def _left_alone(student: Student) -> list[str]:
    """Notes on parameters that do not move; complex ones are kept from it here."""
    whole = [(n, p) for n, p in student.module.named_parameters() if p.is_complex()]
    for _, parameter in whole:
        parameter.requires_grad_(False)
    still = [twin.name for twin in student.twins if not twin.original.requires_grad]
    notes = []
    if whole:
        names = some_names([name for name, _ in whole])
        notes.append(f"{names}: complex, so neither trained nor rounded")
    if still:
        notes.append(f"{some_names(still)}: requires_grad is False, so rounded and not trained")
    return notes


def _twin(
    owner: nn.Module, attribute: str, name: str, parameter: nn.Parameter, scheme: Scheme
) -> Twin:
    quant = fake_quant(scheme, parameter.detach(), name).to(parameter.device)
    quant.watch(_parts(owner, parameter))
    parametrize.register_parametrization(owner, attribute, quant, unsafe=True)
    original = owner.parametrizations[attribute].original  # type: ignore[union-attr, index]
    assert isinstance(original, nn.Parameter)
    return Twin((name,), scheme, original, quant)


def _parts(owner: nn.Module, parameter: nn.Parameter) -> int:
    """Of how many parts it must show whether a gradient comes: each may be used by itself.

    That are the rows of an embedding, the experts of a stack, and whatever else code of the
    caller's own picks from a parameter. A layer's matrix is used as one: a unit of it that never
    fires is of no use, and may go.
    """
    as_one = isinstance(owner, _AS_ONE) or parameter.ndim < 2
    return 1 if as_one else next((n for n in parameter.shape if n > 1), 1)


def _tie(owner: nn.Module, attribute: str, twin: Twin) -> None:
    parametrize.register_parametrization(owner, attribute, twin.quant, unsafe=True)
    owner.parametrizations[attribute].original = twin.original  # type: ignore[union-attr, index]


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute
