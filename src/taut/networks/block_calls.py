"""How a block of a chain is called: the hidden state among its arguments, and in what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch

Place: TypeAlias = "int | str"  # of an argument: its number, or its keyword
OTHER_WAY: Final = "takes another way through the network's blocks than the first batch did"


class AnotherWayError(ArgumentError):
    """A batch takes another way through the network's blocks than the first did."""


@dataclass(frozen=True)
class Others:
    """What a block is called with beside its hidden state, which has None in its place."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def at(self, place: Place) -> object:
        """The argument in a place."""
        return self.args[place] if isinstance(place, int) else self.kwargs[place]


@dataclass(frozen=True)
class OutputForm:
    """How a block puts its hidden state out: alone (`kind` None), or as the first of `items`.

    Each item, by its name in a mapping, is an argument that the block hands on, by its place, or
    None: what else a block puts out is not kept.
    """

    kind: Callable[..., object] | None = None
    items: Mapping[object, Place | None] = field(default_factory=dict)

    @classmethod
    def of(cls, output: object, given: Mapping[Place, object]) -> OutputForm:
        """The form of an output of a block that was called with arguments `given`."""
        if not isinstance(output, (Mapping, tuple, list)):
            return cls()
        held = output if isinstance(output, Mapping) else dict(enumerate(output))
        places = {id(one): at for at, one in given.items() if one is not None}
        return cls(type(output), {key: places.get(id(one)) for key, one in held.items()})

    def packed(self, hidden: torch.Tensor, others: Others) -> object:
        """A hidden state, and what is handed on, in this form."""
        if self.kind is None:
            return hidden
        held = {key: None if at is None else others.at(at) for key, at in self.items.items()}
        held[next(iter(held))] = hidden
        make, values = self.kind, [*held.values()]
        if not isinstance(next(iter(held)), int):
            return make(**{str(key): one for key, one in held.items()})
        return make(*values) if hasattr(make, "_fields") else make(values)


def parted(
    place: Place, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[torch.Tensor, Others]:
    """The hidden state among the arguments of a block, and the others."""
    import torch

    if isinstance(place, int):
        hidden = args[place] if place < len(args) else None
        others = Others((*args[:place], None, *args[place + 1 :]), dict(kwargs))
    else:
        hidden, others = kwargs.get(place), Others(tuple(args), {**kwargs, place: None})
    if not isinstance(hidden, torch.Tensor):
        raise AnotherWayError(f"a batch {OTHER_WAY}")
    return hidden, others


def hidden_of(output: object) -> torch.Tensor | None:
    """The tensor that a block's output is, or begins with; None if there is none."""
    import torch

    if isinstance(output, Mapping):
        output = next(iter(output.values()), None)
    elif isinstance(output, (tuple, list)):
        output = output[0] if output else None
    return output if isinstance(output, torch.Tensor) else None
