"""Rows of charts and tables: the tensors of a module, or of blocks that are alike, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from taut.reporting.alike_layers import layer_lines
from taut.reporting.story import TensorCost

MOST: Final = 24
"""Rows of a chart; what is left is one more."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class LayerRow:
    """The tensors of one module together, or of several that are alike."""

    name: str
    tensors: tuple[TensorCost, ...]

    @property
    def before(self) -> int:
        """Bytes in the original."""
        return sum(tensor.before for tensor in self.tensors)

    @property
    def after(self) -> int:
        """Bytes in the file."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def values(self) -> int:
        """How many weights, those of tied tensors left out."""
        return sum(tensor.values for tensor in self.tensors if tensor.bytes or not tensor.values)

    @property
    def bits(self) -> float:
        """Bits per weight, biases and all."""
        return 8 * self.after / self.values if self.values else 0.0

    @property
    def heaviest(self) -> TensorCost:
        """The tensor with the most values."""
        return max(self.tensors, key=lambda tensor: tensor.values)

    @property
    def error(self) -> float:
        """The largest relative squared error of its tensors."""
        return max(tensor.rel_mse for tensor in self.tensors)

    @property
    def schemes(self) -> str:
        """Its schemes, that of the most bytes first."""
        ordered = sorted(self.tensors, key=lambda tensor: -tensor.bytes)
        return ", ".join(dict.fromkeys(tensor.scheme for tensor in ordered))


def layers_of(tensors: Iterable[TensorCost]) -> tuple[LayerRow, ...]:
    """Tensors by the module that holds them, in the model's order."""
    found: dict[str, list[TensorCost]] = {}
    for tensor in tensors:
        found.setdefault(tensor.layer, []).append(tensor)
    return tuple(LayerRow(name, tuple(members)) for name, members in found.items())


def blocks_of(tensors: Sequence[TensorCost], most: int = MOST) -> tuple[LayerRow, ...]:
    """Tensors by module where these are few; else modules that are alike together, as info has it.

    >>> def tensor(n, k):
    ...     return TensorCost(f"encoder.{n}.{k}.weight", (4,), "rd", 16, 2, 4.0, 0.1, "F32")
    >>> [row.name for row in blocks_of([tensor(n, k) for n in range(20) for k in "qkv"])]
    ['encoder.{0..19}.q.weight', 'encoder.{0..19}.k.weight', 'encoder.{0..19}.v.weight']
    """
    layers = layers_of(tensors)
    if len(layers) <= most:
        return layers
    by_name = {tensor.name: tensor for tensor in tensors}
    return tuple(
        LayerRow(line.name, tuple(map(by_name.__getitem__, line.members)))
        for line in layer_lines(list(by_name.values()), most)
    )


def top(
    items: Sequence[_Item], weight: Callable[[_Item], float], least: float = -1
) -> tuple[list[_Item], list[_Item]]:
    """The heaviest items in their own order, and the rest; one left alone is no rest."""
    order = sorted(range(len(items)), key=lambda place: weight(items[place]), reverse=True)
    kept = {place for place in order[:MOST] if weight(items[place]) > least}
    if len(items) - len(kept) == 1:
        kept = set(range(len(items)))
    inside = [item for place, item in enumerate(items) if place in kept]
    return inside, [item for place, item in enumerate(items) if place not in kept]
