"""What the steps of a plan ask for together, and settings as steps.

Only whoever reads a plan file needs pydantic: a `Recipe` is made of plain settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

from taut.planning._part import ToldError
from taut.planning.recipe_steps import Step
from taut.transform.settings import Channels, Distill, Masking, Training

_ORDER: Final = ("channels", "mask", "train")


@dataclass(frozen=True)
class Recipe:
    """The steps in one: `training` has the mask in it; `mask` is one that is made without."""

    channels: Channels | None = None
    mask: Masking | None = None
    training: Training | None = None


def recipe_of(steps: Iterable[Step]) -> Recipe:
    """What steps ask for together, in words that need neither pydantic nor torch."""
    by_name = {step.name: step for step in steps}
    channels, mask, train = (getattr(by_name.get(name), name, None) for name in _ORDER)
    masking = None if mask is None else mask.settings()
    if masking is not None and train is None:
        masking = replace(masking, gradual=False)
    return Recipe(
        channels=None if channels is None else channels.settings(),
        mask=masking if train is None else None,
        training=None if train is None else replace(train.settings(), mask=masking),
    )


def steps_of(settings: Channels | Masking | Training) -> list[dict[str, object]]:
    """Settings as the values of steps: a training with a mask in it is two.

    >>> steps_of(Channels(remove=0.5))
    [{'channels': {'remove': 0.5}}]
    """
    names = {Channels: "channels", Masking: "mask", Training: "train"}
    said = _said(settings)
    before: list[dict[str, object]] = []
    if isinstance(settings, Training):
        if settings.mask is not None:
            before = steps_of(settings.mask)
        said.pop("mask", None)
        if settings.distill != Training().distill:
            said["distill"] = settings.distill is not None and _said(settings.distill)
    return [*before, {names[type(settings)]: said}]


def _said(settings: Channels | Masking | Training | Distill) -> dict[str, object]:
    """What differs from the defaults, by name."""
    values = {f.name: (getattr(settings, f.name), f.default) for f in fields(settings)}
    return {name: value for name, (value, default) in values.items() if value != default}


def check_steps(steps: tuple[Step, ...]) -> None:
    """Refuse what comes twice, too late, or without the training that it is for."""
    names = [step.name for step in steps]
    for i, name in enumerate(names):
        if name in names[:i]:
            first = names.index(name) + 1
            raise ToldError(f"comes twice, first as step {first}; keep one", at=(i, name))
        later = [one for one in names[:i] if _ORDER.index(one) > _ORDER.index(name)]
        if later:
            order = ", ".join(_ORDER)
            raise ToldError(f"comes after {later[0]}; the order is {order}", at=(i, name))
        mask = steps[i].mask
        if mask is not None and mask.gradual and "train" not in names:
            told = "gradual: goes with a train step; add one, or leave gradual out"
            raise ToldError(told, at=(i, name))
