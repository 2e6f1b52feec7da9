"""The network in training: its tensors are fake-quantised, and are what the file is made of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from taut.errors import ArgumentError
from taut.io.names import some_names
from taut.networks.own_classes import own_classes
from taut.networks.sharing import SharedParameter, held_parameters, overlapping
from taut.scheme import Scheme
from taut.training.alive import norm_axis
from taut.training.bits import BitEstimate
from taut.training.fake_quant import FakeQuant
from taut.training.learnt_steps import LearntSteps
from taut.training.recurrent import read_by_name
from taut.training.trained_forms import fake_quant

_AS_ONE: Final = (
    *(nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention),
    parametrize.ParametrizationList,
)
_TRAINS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
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


def make_student(module: nn.Module, schemes: Mapping[str, Scheme]) -> Student:
    """Fake-quantise, in place, the parameters of `module` that `schemes` name (by its names).

    A parameter that several layers hold is one: they share weight, step and mask, by whichever of
    its names it has a scheme. `module` is the caller's to give away: its parametrised layers get
    classes of their own, as those of recurrent layers in training.
    """
    student = Student(own_classes(module))
    plain: list[str] = []
    parameters, overlaps = held_parameters(module), overlapping(module)
    size = _typical_size(parameters)
    for held in parameters:
        scheme = next((schemes[name] for name in held.names if name in schemes), None)
        if scheme is None or not held.parameter.is_floating_point() or not held.parameter.numel():
            plain += held.names
        else:
            student.twins.append(_twin(held, scheme, size))
    student.plain = tuple(plain)
    _step_alike(student.twins, overlaps)
    student.notes += _left_alone(student)
    return student


@torch.no_grad()
def _typical_size(parameters: list[SharedParameter]) -> float:
    """The root mean square of the matrices: the median of them; 0.1 if there are none."""
    matrices = [one.parameter for one in parameters if one.parameter.ndim > 1]
    floats = [one for one in matrices if one.dtype in _TRAINS and one.any()]
    sizes = [float(one.float().square().mean().sqrt()) for one in floats]
    return statistics.median(sizes) if sizes else 0.1


def _left_alone(student: Student) -> list[str]:
    """Notes on parameters that do not move; complex and 8-bit floats are kept from it here."""
    odd = [
        (name, one)
        for name, one in student.module.named_parameters()
        if one.requires_grad and one.dtype not in _TRAINS
    ]
    for _, parameter in odd:
        parameter.requires_grad_(False)
    still = [twin.name for twin in student.twins if not twin.original.requires_grad]
    notes = []
    if odd:
        names = some_names([name for name, _ in odd])
        notes.append(f"{names}: of dtypes that do not train, so neither trained nor rounded")
    if still:
        notes.append(f"{some_names(still)}: requires_grad is False, so rounded and not trained")
    return notes


def _twin(held: SharedParameter, scheme: Scheme, size: float) -> Twin:
    """Fake-quantise a parameter in each module that holds it, once."""
    parameter = held.parameter
    quant = fake_quant(scheme, parameter.detach(), held.names[0], size).to(parameter.device)
    quant.watch(_parts([place.owner for place in held.places], parameter))
    done: set[tuple[int, str]] = set()
    for place in held.places:
        owner, attribute = place.owner, place.attribute
        if (id(owner), attribute) in done:
            continue
        done.add((id(owner), attribute))
        axis = norm_axis(owner, attribute)
        quant.norm_axis = axis if axis is not None else quant.norm_axis
        if isinstance(owner, nn.RNNBase):
            read_by_name(owner)
        parametrize.register_parametrization(owner, attribute, quant, unsafe=True)
        owner.parametrizations[attribute].original = parameter  # type: ignore[union-attr, index]
    return Twin(held.names, scheme, parameter, quant)


def _parts(owners: Iterable[nn.Module], parameter: nn.Parameter) -> int:
    """Of how many parts it must show whether a gradient comes: each may be used by itself.

    That are the rows of an embedding, the experts of a stack, and whatever else code of the
    caller's own picks from a parameter. A layer's matrix is used as one: a unit of it that never
    fires is of no use, and may go.
    """
    as_one = parameter.ndim < 2 or any(isinstance(owner, _AS_ONE) for owner in owners)
    return 1 if as_one else next((n for n in parameter.shape if n > 1), 1)


def _step_alike(made: list[Twin], overlaps: Mapping[str, str]) -> None:
    """Let tensors that share a part of their memory share one step, so that they decode alike.

    Raises:
        ArgumentError: they have no step for the whole tensor; the message names both.
    """
    quants = {name: twin.quant for twin in made for name in twin.names}
    for name, other in overlaps.items():
        if name in quants or other in quants:
            one, its = _dialled(quants.get(name)), _dialled(quants.get(other))
            if one is None or its is None:
                raise ArgumentError(
                    f'tensor "{name}": shares a part of its memory with "{other}", and their '
                    "schemes would round that part in two ways; give rd or lossless for both, or "
                    "a clone() in place of one"
                )
            one.log_step = its.log_step


def _dialled(quant: FakeQuant | None) -> LearntSteps | None:
    """Itself, if it has one step for the tensor, and no end."""
    return quant if isinstance(quant, LearntSteps) and quant.most is None else None
