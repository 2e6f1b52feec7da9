"""Values that go into a graph and come out of it: tensors, texts, sequences and maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taut.errors import ArgumentError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

NUMPY: Final[dict[str, type]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True)
class GraphInputs:
    """What a graph takes: `kinds` are onnxruntime's types by name, `needed` those without default.

    `shapes` have a number for each axis that is fixed, else None.
    """

    kinds: Mapping[str, str]
    needed: tuple[str, ...]
    shapes: Mapping[str, tuple[int | None, ...]]

    @classmethod
    def of(cls, session: InferenceSession) -> GraphInputs:
        """Those of a session; an initialiser that is an input too has a default."""
        given = list(session.get_inputs())
        every = [*given, *session.get_overridable_initializers()]
        needed = tuple(one.name for one in given if not one.type.startswith("optional("))
        shapes = {
            one.name: tuple(n if isinstance(n, int) else None for n in one.shape or ())
            for one in every
        }
        return cls({one.name: one.type for one in every}, needed, shapes)

    def without(self, fed: Collection[str], defaults: Collection[str]) -> GraphInputs:
        """All but those that are fed; of these, what is among `defaults` may be given."""
        own = {name: kind for name, kind in self.kinds.items() if name not in set(fed)}
        given = {name: self.kinds[name] for name in fed if name in defaults}
        needed = tuple(name for name in self.needed if name in own)
        return GraphInputs(own | given, needed, self.shapes)

    def take(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, Any]:
        """Arguments of a call as onnxruntime takes them; None stands for what is not given.

        Raises:
            ArgumentError: there are too many, too few, or others.
        """
        if len(args) > len(self.kinds):
            raise ArgumentError(
                f"the graph takes {len(self.needed)} inputs ({_list(self.needed)}), not {len(args)}"
            )
        both = {**dict(zip(self.kinds, args, strict=False)), **kwargs}
        given = {name: value for name, value in both.items() if value is not None}
        self._check(given)
        return {name: as_input(value, self.kinds[name], name) for name, value in given.items()}

    def _check(self, given: Collection[str]) -> None:
        """Whether these are inputs, and all that are needed."""
        if strange := [name for name in given if name not in self.kinds]:
            raise ArgumentError(
                f"the graph has no input {_list(strange)}; it takes {_list(self.needed)}"
            )
        if missing := [name for name in self.needed if name not in given]:
            raise ArgumentError(f"the graph misses its input {_list(missing)}")


def as_input(value: object, kind: str, name: str) -> object:
    """A value as onnxruntime takes it, of a type as it spells it: `seq(tensor(float))`.

    Raises:
        ArgumentError: it is of another kind, or of a type that no array can have.
    """
    outer, _, inner = kind.removesuffix(")").partition("(")
    if outer == "optional":
        return as_input(value, inner, name)
    if outer == "seq":
        if not isinstance(value, Sequence):
            told = type(value).__name__
            raise ArgumentError(f'input "{name}" is a sequence, {kind}; give a list, no {told}')
        return [as_input(part, inner, name) for part in value]
    if outer != "tensor":
        return value
    if kind not in NUMPY:
        raise ArgumentError(f'input "{name}" is of {kind}, which onnxruntime takes from no array')
    return np.asarray(_array(value), NUMPY[kind], order="C")


def _array(value: object) -> object:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    narrow = value.dtype == torch.bfloat16  # which numpy does not have
    return (value.float() if narrow else value).numpy()


def as_output(value: object) -> object:
    """What onnxruntime gave, as a module gives it: a tensor for each array of numbers.

    Texts stay arrays. A sequence of maps to numbers, as ZipMap gives, is one tensor, with a row for
    each map and a column for each key.
    """
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value)) if value.dtype.kind in "biuf" else value
    if isinstance(value, Mapping):
        return {key: as_output(part) for key, part in value.items()}
    if isinstance(value, list):
        return _as_sequence(value)
    return torch.tensor(value) if isinstance(value, Number) else value


def _as_sequence(value: list[Any]) -> object:
    import torch

    keys = list(value[0]) if value and isinstance(value[0], Mapping) else []
    if keys and all(_has_numbers(part, keys) for part in value):
        return torch.tensor([[float(part[key]) for key in keys] for part in value])
    return [as_output(part) for part in value]


def _has_numbers(part: object, keys: Sequence[object]) -> bool:
    return (
        isinstance(part, Mapping)
        and list(part) == keys
        and all(isinstance(one, Number) for one in part.values())
    )


def _list(names: object) -> str:
    return ", ".join(f'"{name}"' for name in names)  # type: ignore[attr-defined]
