"""A checksum of whatever a batch is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from taut.errors import ArgumentError
from taut.io.pytorch import is_tensor, to_numpy

if TYPE_CHECKING:
    import torch

_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes, np.generic)
_DEEPEST: Final = 16  # containers in containers: objects may hold one another


class Digest:
    """An xxh3 of values, their kinds, shapes and names.

    >>> first, second = Digest(), Digest()
    >>> first.add({"x": [1, 2]}, "a batch")
    >>> second.add({"x": [1, 2.0]}, "a batch")
    >>> first.text() == second.text()
    False
    """

    def __init__(self) -> None:
        self._sum = xxhash.xxh3_128()

    def text(self) -> str:
        """The sum so far, in hexadecimal."""
        return str(self._sum.hexdigest())

    def add(self, value: object, where: str, depth: int = 0) -> None:
        """Take in a tensor, array, number, text or None, or a container or object of such.

        Raises:
            ArgumentError: there is something else in it; the message begins with `where`.
        """
        if is_tensor(value):
            value = _dense(value)
        if isinstance(value, np.ndarray):
            self._add_array(value, where, depth)
        elif isinstance(value, _PLAIN):
            self._head(type(value).__name__, repr(value))
        elif depth < _DEEPEST and isinstance(value, (tuple, list)):
            self._head("sequence", str(len(value)))
            for part in value:
                self.add(part, where, depth + 1)
        elif depth < _DEEPEST and (fields := _fields(value)):
            self._add_fields(fields, where, depth + 1)
        else:
            raise ArgumentError(
                f"{where}: has a {type(value).__name__} in it; make batches of tensors, arrays, "
                "numbers and texts"
            )

    def _add_array(self, value: np.ndarray, where: str, depth: int) -> None:
        if not value.dtype.hasobject:
            self._head("array", f"{value.dtype}{value.shape}")
            self._sum.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        else:  # of texts
            self._head("objects", str(value.shape))
            self.add(value.reshape(-1).tolist(), where, depth)

    def add_pieces(
        self, told: tuple[np.dtype, tuple[int, ...]], pieces: Iterable[np.ndarray]
    ) -> None:
        """Take in an array of a dtype and shape that comes in pieces; as `add` of all of it."""
        dtype, shape = told
        self._head("array", f"{dtype}{shape}")
        for piece in pieces:
            self._sum.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    def _add_fields(self, fields: Mapping[object, object], where: str, depth: int) -> None:
        self._head("mapping", str(len(fields)))
        for name, part in fields.items():
            self._head("name", repr(name))
            self.add(part, where, depth)

    def _head(self, kind: str, told: str) -> None:
        # Lengths first, so that no text can pass for the beginning of the next.
        self._sum.update(f"{kind} {len(told)} {told};".encode("utf-8", "surrogatepass"))


def _fields(value: object) -> Mapping[object, object]:
    """What a mapping or an object of the user's holds."""
    if isinstance(value, Mapping):
        return value
    slots = [
        name for kind in type(value).__mro__ for name in _names(kind.__dict__.get("__slots__"))
    ]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**held, **getattr(value, "__dict__", {})}


def _names(slots: object) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots or ()  # type: ignore[return-value]


def _dense(tensor: torch.Tensor) -> object:
    """A tensor's values as arrays: of a sparse one those that are stored, and where."""
    import torch

    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return ["sparse", list(tensor.shape), tensor.indices(), tensor.values()]
    if tensor.layout != torch.strided:
        return _dense(tensor.to_sparse())
    if tensor.is_complex():
        return ["complex", torch.view_as_real(tensor.resolve_conj())]
    return to_numpy(tensor)
