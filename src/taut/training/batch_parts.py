"""What of a batch the network takes, and what is its target: by what `forward` takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

_TARGETS: Final = ("labels", "label", "targets", "target", "y")  # what the target may be called


@dataclass(frozen=True)
class Arguments:
    """What a call takes: `names` of keywords, and how many arguments in order at least and most."""

    names: frozenset[str]
    least: int
    most: float
    anything: bool  # whatever keyword there is


def arguments_of(module: nn.Module) -> Arguments:
    """What the network's `forward` takes.

    >>> arguments_of(nn.Linear(1, 1)).names
    frozenset({'input'})
    """
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # nothing tells: it is called, and shows
        return Arguments(frozenset(), 1, math.inf, True)
    kinds = inspect.Parameter
    ordered = _of_kinds(parameters, kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    named = _of_kinds(parameters, kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    endless = _of_kinds(parameters, kinds.VAR_POSITIONAL)
    return Arguments(
        frozenset(p.name for p in named),
        sum(p.default is p.empty for p in ordered),
        math.inf if endless else len(ordered),
        bool(_of_kinds(parameters, kinds.VAR_KEYWORD)),
    )


def _of_kinds(parameters: Iterable[inspect.Parameter], *kinds: object) -> list[inspect.Parameter]:
    """The parameters that are given in one of these ways."""
    return [one for one in parameters if one.kind in kinds]


def parts_of(batch: object, module: nn.Module) -> tuple[object, object]:
    """What the network takes, and the target (None where there is none).

    A pair is (input, target), unless `forward` cannot do with one argument; of a longer tuple the
    last is the target where `forward` takes one argument less. In a dict the target is called
    labels, label, targets, target or y; it is passed on where `forward` takes it.

    >>> parts_of({"input": 1, "y": 2}, nn.Linear(1, 1))
    ({'input': 1}, 2)
    """
    takes = arguments_of(module)
    if isinstance(batch, Mapping):
        return _of_dict(batch, takes)
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        return batch, None
    if len(batch) == 2:
        return (batch, None) if takes.least >= 2 else (batch[0], batch[1])
    if len(batch) == takes.most + 1:
        return batch[:-1], batch[-1]
    return batch, None


def _foreign(batch: Mapping[str, object], takes: Arguments) -> list[str]:
    """The names in a batch that `forward` does not take."""
    return [] if takes.anything else [name for name in batch if name not in takes.names]


def _of_dict(batch: Mapping[str, object], takes: Arguments) -> tuple[object, object]:
    target = next((name for name in _TARGETS if name in batch), None)
    if target is None:
        return batch, None
    foreign = _foreign(batch, takes)
    if target not in foreign:  # y may be an input like any other
        return batch, None if target == "y" else batch[target]
    rest = {name: part for name, part in batch.items() if name != target}
    if len(rest) == 1 and len(foreign) == 2:  # {"x", "y"} for a network that calls its input so not
        return next(iter(rest.values())), batch[target]
    return rest, batch[target]
