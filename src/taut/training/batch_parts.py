"""What of a batch the network takes, and what is its target: by what `forward` takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

from taut.networks.calls import are_arguments

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

    def of(*wanted: object) -> list[inspect.Parameter]:
        return [one for one in parameters if one.kind in wanted]

    ordered = of(kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    return Arguments(
        frozenset(one.name for one in of(kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)),
        sum(one.default is one.empty for one in ordered),
        math.inf if of(kinds.VAR_POSITIONAL) else len(ordered),
        bool(of(kinds.VAR_KEYWORD)),
    )


def parts_of(batch: object, module: nn.Module) -> tuple[object, object]:
    """What the network takes, and the target (None where there is none).

    A pair is (input, target), unless `forward` cannot do with one argument; of a longer tuple what
    `forward` takes no more of is the target, or the targets. In a dict the target is called
    labels, label, targets, target or y; it is passed on where `forward` takes it. What else of a
    dict it does not take is left out, if it takes any of it.

    >>> parts_of({"input": 1, "y": 2}, nn.Linear(1, 1))
    ({'input': 1}, 2)
    """
    takes = arguments_of(module)
    if isinstance(batch, Mapping):
        return _of_dict(batch, takes)
    if not are_arguments(batch) or len(batch) < 2:
        return batch, None
    if len(batch) == 2:
        return (batch, None) if takes.least >= 2 else (batch[0], batch[1])
    if len(batch) <= takes.most or not takes.most:
        return batch, None
    most = int(takes.most)
    given, targets = batch[:most], batch[most:]
    return given[0] if most == 1 else given, targets[0] if len(targets) == 1 else targets


def _of_dict(batch: Mapping[str, object], takes: Arguments) -> tuple[object, object]:
    target = next((name for name in _TARGETS if name in batch), None)
    foreign, known = _divided(batch, takes)
    if target is None:
        return known, None
    if target not in foreign:  # y may be an input like any other
        return known, None if target == "y" else batch[target]
    rest = {name: part for name, part in known.items() if name != target}
    if len(rest) == 1 and len(foreign) == 2:  # {"x", "y"} for a network that calls its input so not
        return next(iter(rest.values())), batch[target]
    return rest, batch[target]


def _divided(
    batch: Mapping[str, object], takes: Arguments
) -> tuple[list[str], Mapping[str, object]]:
    """Names that the network does not take, and the other entries; all where there are none."""
    if takes.anything:
        return [], batch
    known = {name: part for name, part in batch.items() if name in takes.names}
    return [name for name in batch if name not in known], known or batch


def left_out(batch: object, given: object, target: object) -> list[str]:
    """Entries of a dict that are neither given to the network nor its target.

    >>> left_out({"x": 1, "id": 2, "y": 3}, {"x": 1}, 3)
    ['id']
    """
    if not isinstance(batch, Mapping) or not isinstance(given, Mapping):
        return []
    return [name for name, part in batch.items() if name not in given and part is not target]
