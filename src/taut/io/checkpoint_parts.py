"""Which part of a checkpoint are the weights: a training keeps much beside them.

A part is a mapping of texts to tensors, or a list of tensors, found through mappings alone. What an
optimiser keeps (it has `state` and `param_groups`) is none. Of several the one is taken whose path
is of the words that trainers write for the model itself, in the order of `_WORDS`; else the caller
says which. Nothing is taken for a model by the look of its tensors. All of it, the optimiser's
state and what is no tensor too, is taken where it is asked for, or where no part is a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from taut.errors import ArgumentError
from taut.io.inert import HeldArray
from taut.io.names import nearest
from taut.io.nest import Nest, holds_tensors, take_apart
from taut.io.pytorch import is_tensor

_WORDS: Final = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "network", "net",
    "weights", "params", "state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema",
)  # fmt: skip
_AROUND: Final = ("state", "checkpoint", "ckpt")  # words for what holds all of it
_EXTRA: Final = "_extra_state"  # ends the names of what modules keep beside their tensors
_TOP: Final = "."
ALL: Final = "*"
"""The key of all that is in a checkpoint."""
_DEEPEST: Final = 8
_SHOWN: Final = 6  # names in a message

Tensors = dict[str, object]


@dataclass(frozen=True, eq=False)
class WholeCheckpoint(Mapping[str, object]):
    """A checkpoint in memory of which all is to be taken."""

    held: Mapping[str, object]

    def __getitem__(self, key: str) -> object:
        return self.held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


@dataclass(frozen=True)
class CheckpointPart:
    """Tensors and arrays of a checkpoint by name, where they were, and what is to be told.

    `whole` says that there is nothing else in the checkpoint. `nest` is of one that is taken as it
    is, with what its tensors are in.
    """

    path: tuple[str, ...]
    tensors: Tensors
    notes: tuple[str, ...] = ()
    whole: bool = False
    nest: Nest | None = None

    @property
    def key(self) -> str:
        """The path as a key takes it: `.` for the whole."""
        return ".".join(self.path) or _TOP


def choose_part(loaded: object, key: str | None, identity: str) -> CheckpointPart:
    """The part of a checkpoint that is the model's, or that `key` names; its notes tell the rest.

    Raises:
        ArgumentError: there is no part, several could be meant, or none has that key; the message
            lists the keys.

    >>> choose_part({"model": {"w": np.ones(2)}, "epoch": 3}, None, "x.pt").key
    'model'
    """
    if key == ALL:
        return _all(loaded, identity)
    parts = list(_parts(loaded, ()))
    if not parts and key is None and not _is_value(loaded) and holds_tensors(loaded):
        return _all(loaded, identity)
    if key is not None:
        return _noted(_named(loaded, parts, key, identity), loaded, parts, named=True)
    if not parts:
        raise ArgumentError(f"{identity}: {_nothing(loaded)}")
    return _noted(_usual(parts, identity), loaded, parts, named=False)


def _all(loaded: object, identity: str) -> CheckpointPart:
    """A checkpoint as it is."""
    nest = take_apart(loaded, identity)
    return CheckpointPart((ALL,), nest.tensors, whole=True, nest=nest)


def _parts(value: object, path: tuple[str, ...]) -> Iterator[CheckpointPart]:
    """All parts, the outer ones first."""
    if isinstance(value, (list, tuple)) and value and all(map(_is_value, value)):
        yield CheckpointPart(path, {str(n): _plain(one) for n, one in enumerate(value)})
    named = _named_values(value)
    if tensors := {name: _plain(one) for name, one in named.items() if _is_value(one)}:
        yield CheckpointPart(path, tensors)
    if len(path) < _DEEPEST:
        for name, one in named.items():
            yield from _parts(one, (*path, name))


def _named_values(value: object) -> dict[str, object]:
    """What a mapping holds by name; nothing of what an optimiser keeps, or a module beside."""
    if not isinstance(value, Mapping) or {"state", "param_groups"} <= value.keys():
        return {}
    return {
        name: one
        for name, one in value.items()
        if isinstance(name, str) and (_is_value(one) or not name.endswith(_EXTRA))
    }


def _is_value(value: object) -> bool:
    """Whether this is a tensor, or an array of numbers; scalars of numpy are settings."""
    if isinstance(value, HeldArray):
        return value.values is not None and value.values.ndim > 0
    return is_tensor(value) or (isinstance(value, np.ndarray) and value.dtype.kind in "?biufcV")


def _plain(value: object) -> object:
    return value.values if isinstance(value, HeldArray) else value


def _usual(parts: list[CheckpointPart], identity: str) -> CheckpointPart:
    """The only part, or the one whose path has the usual words."""
    if len(parts) == 1:
        return parts[0]
    usual = [part for part in parts if _rank(part) is not None]
    if usual:
        return min(usual, key=lambda part: (_rank(part) or 0, len(part.path)))
    raise ArgumentError(
        f"{identity}: holds several sets of tensors; choose one with key (--key): {_listed(parts)}"
    )


def _rank(part: CheckpointPart) -> int | None:
    """The place of a part's word in the order; None of a path with other words in it."""
    if not part.path or any(word not in (*_WORDS, *_AROUND) for word in part.path):
        return None
    first = next((word for word in part.path if word in _WORDS), None)
    return None if first is None else _WORDS.index(first)


def _named(loaded: object, parts: list[CheckpointPart], key: str, identity: str) -> CheckpointPart:
    """The part of that key, or all parts below it as one."""
    for part in parts:
        if key in (part.key, "/".join(part.path)):
            return part
    below = [part for part in parts if part.key.startswith(f"{key}.")]
    if not below:
        near = nearest(key, [part.key for part in parts])
        what = f"there are {_listed(parts)}" if parts else _nothing(loaded)
        raise ArgumentError(f'{identity}: key (--key) "{key}" names no tensors{near}; {what}')
    tensors = {
        f"{part.key.removeprefix(f'{key}.')}.{name}": one
        for part in below
        for name, one in part.tensors.items()
    }
    return CheckpointPart((key,), tensors)


def _noted(
    part: CheckpointPart, loaded: object, parts: list[CheckpointPart], *, named: bool
) -> CheckpointPart:
    """The part, with notes of where it was and what is left."""
    if not isinstance(loaded, Mapping):
        notes = ["a list of tensors, named by number"]
        return CheckpointPart(part.path, part.tensors, tuple(notes), whole=True)
    notes = _taken(part) + _left(part, loaded)
    others = [one for one in parts if one.path != part.path]
    if others and not named:
        notes.append(f"it holds other tensors too, which key (--key) takes: {_listed(others)}")
    return CheckpointPart(part.path, part.tensors, tuple(notes), whole=not notes)


def _taken(part: CheckpointPart) -> list[str]:
    if not part.path:
        return []
    count = len(part.tensors)
    return [f'taken of the checkpoint: "{part.key}" ({count} tensor{"s" if count != 1 else ""})']


def _left(part: CheckpointPart, loaded: Mapping[object, object]) -> list[str]:
    held = part.path[:1] or part.tensors
    left = [str(name) for name in loaded if name not in held]
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    told = f"not taken of the checkpoint: {', '.join(left[:_SHOWN])}{more}"
    return [f'{told}; key "{ALL}" (--key) takes all of it'] if left else []


def _listed(parts: list[CheckpointPart]) -> str:
    told = [f'"{part.key}" ({len(part.tensors)})' for part in parts[:_SHOWN]]
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(told) + more


def _nothing(loaded: object) -> str:
    """What is there instead of tensors by name."""
    if _is_value(loaded):
        return "holds a Tensor without a name; pass {name: tensor} from Python"
    if not isinstance(loaded, Mapping):
        return f"holds a {type(loaded).__name__}, not a state dict of tensors"
    kinds = [f'"{name}" ({type(one).__name__})' for name, one in list(loaded.items())[:_SHOWN]]
    return f"holds no tensors by name: it has {', '.join(kinds) or 'nothing'}"
