"""The steps of a plan as YAML has them: `channels`, `mask` and `train`, each a mapping.

What a step leaves out has the default of `taut.transform.settings`, which is written there only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    field_validator,
    model_validator,
)

from taut.errors import ArgumentError
from taut.planning._part import Fraction, Number, PlanPart, ToldError
from taut.scheme import parse_scheme
from taut.transform.settings import (
    Channels,
    Distill,
    Importance,
    Masking,
    Method,
    Optimizer,
    Precision,
    Training,
)


def _n_of_m(value: object) -> tuple[int, int]:
    if isinstance(value, tuple) and len(value) == 2 and all(type(one) is int for one in value):
        return cast("tuple[int, int]", value)
    try:
        found = parse_scheme(value).n_of_m if isinstance(value, str) else None
    except ArgumentError as error:
        raise ToldError(f"n_of_m: {error}") from None
    if found is None:
        raise ValueError("not N:M")
    return found


_NofM = Annotated[
    tuple[int, int],
    PlainValidator(_n_of_m),
    PlainSerializer(lambda pair: f"{pair[0]}:{pair[1]}", return_type=str),
]
_Count = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
_Names = tuple[Annotated[str, Field(strict=True, min_length=1)], ...]


def _said(part: PlanPart) -> dict[str, Any]:
    """What a part says, by name; the rest is left to the settings' defaults."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _one_of(words: object) -> str:
    """The texts of a `Literal`, as in "a, b or c"."""
    *some, last = get_args(words)
    return f"{', '.join(some)} or {last}"


def _checked(part: PlanPart, settings: Callable[[], object]) -> None:
    """Let the settings refuse what cannot be, in their own words."""
    try:
        settings()
    except ArgumentError as error:
        key = str(error).partition(":")[0]
        raise ToldError(str(error), (key,) if key in type(part).model_fields else ()) from None


class ChannelsStep(PlanPart):
    """Whole channels to remove; see `taut.transform.settings.Channels`."""

    remove: Fraction | None = Field(
        default=None, description="the share of channels to remove, as 50%"
    )
    parameters: Fraction | None = Field(
        default=None, description="the share of parameters to keep, as 50%"
    )
    flops: Fraction | None = Field(
        default=None, description="the share of multiplications to keep, as 50%"
    )
    importance: Importance | None = Field(default=None, description=_one_of(Importance))
    ignore: _Names | None = Field(default=None, description="a list of modules' names")
    round_to: _Count | None = Field(default=None, description="a whole number of channels, as 8")

    @model_validator(mode="after")
    def _holds(self) -> ChannelsStep:
        if sum(x is not None for x in (self.remove, self.parameters, self.flops)) != 1:
            raise ToldError("give one of remove, parameters and flops, as {remove: 50%}")
        _checked(self, self.settings)
        return self

    def settings(self) -> Channels:
        """The step for whoever carries it out."""
        return Channels(**_said(self))


class MaskStep(PlanPart):
    """Weights to set to zero; see `taut.transform.settings.Masking`."""

    sparsity: Fraction | None = Field(default=None, description="the share of zeros, as 90%")
    n_of_m: _NofM | None = Field(default=None, description='"2:4": N nonzero in each M')
    method: Method | None = Field(default=None, description=_one_of(Method))
    gradual: StrictBool | None = Field(default=None, description="true or false")
    begin: Fraction | None = Field(default=None, description="a share of the training, as 10%")
    end: Fraction | None = Field(default=None, description="a share of the training, as 60%")
    regrow: Fraction | None = Field(default=None, description="a share of the kept weights, as 10%")
    block: tuple[_Count, _Count] | None = Field(
        default=None, description="[rows, columns] of a block"
    )

    @model_validator(mode="after")
    def _holds(self) -> MaskStep:
        if (self.sparsity is None) == (self.n_of_m is None):
            raise ToldError('give either sparsity or n_of_m, as {sparsity: 90%} or {n_of_m: "2:4"}')
        _checked(self, self.settings)
        return self

    def settings(self) -> Masking:
        """The step for whoever carries it out."""
        return Masking(**_said(self))


class DistillPart(PlanPart):
    """Learning from a teacher; see `taut.transform.settings.Distill`."""

    weight: Number | None = Field(default=None, description="a number from 0 to 1")
    temperature: Number | None = Field(default=None, description="a number above 0, up to 100")
    features: _Names | None = Field(default=None, description="a list of modules' names")
    feature_weight: Number | None = Field(default=None, description="a number from 0 on")

    @model_validator(mode="after")
    def _holds(self) -> DistillPart:
        _checked(self, self.settings)
        return self

    def settings(self) -> Distill | None:
        """The part for whoever carries it out; None where nothing is to be learnt so."""
        found = Distill(**_said(self))
        return found if found.weight or found.features else None


class TrainStep(PlanPart):
    """How to train; see `taut.transform.settings.Training`."""

    parts: ClassVar[dict[str, type[PlanPart]]] = {"distill": DistillPart}
    epochs: _Count | None = Field(default=None, description="a whole number from 1 on")
    optimizer: Optimizer | None = Field(default=None, description=_one_of(Optimizer))
    lr: Number | None = Field(default=None, description="a positive number, as 0.01")
    momentum: Number | None = Field(default=None, description="a number from 0 to below 1")
    weight_decay: Number | None = Field(default=None, description="a number from 0 on")
    warmup: Fraction | None = Field(default=None, description="a share of all steps, as 2%")
    ramp: Fraction | None = Field(default=None, description="a share of all steps, as 50%")
    accumulate: _Count | None = Field(default=None, description="a whole number of batches")
    clip: Number | None = Field(default=None, description="a positive number, as 1.0")
    precision: Precision | None = Field(default=None, description=_one_of(Precision))
    patience: _Count | None = Field(default=None, description="a whole number of epochs")
    bits: StrictBool | None = Field(default=None, description="true or false")
    activations: Literal["int8"] | None = Field(default=None, description="int8, or leave it out")
    distill: DistillPart | None = Field(
        default=None, description="a mapping as {weight: 0.9, temperature: 2}, or true or false"
    )

    @field_validator("distill", mode="before")
    @classmethod
    def _switch(cls, distill: object) -> object:
        """`false` is a weight of 0, `true` the defaults."""
        if isinstance(distill, bool):
            return {} if distill else {"weight": 0}
        return distill

    @model_validator(mode="after")
    def _holds(self) -> TrainStep:
        _checked(self, self.settings)
        return self

    def settings(self) -> Training:
        """The step for whoever carries it out, without the mask of another step."""
        said = _said(self)
        if self.distill is not None:
            said["distill"] = self.distill.settings()
        return Training(**said)


class Step(PlanPart):
    """One of `channels`, `mask` and `train`.

    >>> Step(mask={"sparsity": "90%"}).mask.settings().sparsity
    0.9
    """

    entry: ClassVar[str] = "step"
    shape: ClassVar[str] = "{train: {epochs: 10}}"
    parts: ClassVar[dict[str, type[PlanPart]]] = {
        "channels": ChannelsStep,
        "mask": MaskStep,
        "train": TrainStep,
    }
    channels: ChannelsStep | None = Field(default=None, description="a mapping as {remove: 50%}")
    mask: MaskStep | None = Field(default=None, description="a mapping as {sparsity: 90%}")
    train: TrainStep | None = Field(default=None, description="a mapping as {epochs: 10}")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, values: object) -> object:
        """`- train:` with nothing behind it takes every default."""
        if isinstance(values, Mapping) and len(values) == 1:
            return {key: {} if value is None else value for key, value in values.items()}
        return values

    @model_validator(mode="after")
    def _one(self) -> Step:
        if len(given := _said(self)) != 1:
            if not given:
                raise ToldError("is empty; give channels, mask or train")
            raise ToldError(f"is {' and '.join(given)} in one; give each an entry of its own")
        return self

    @property
    def name(self) -> str:
        """`channels`, `mask` or `train`."""
        return next(iter(_said(self)))
