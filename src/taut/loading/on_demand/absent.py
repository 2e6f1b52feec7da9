"""A parameter that has shape and dtype but no memory: whoever computes with it gets the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, Protocol

import numpy as np
import torch
from torch.utils._pytree import tree_map

from taut.errors import ArgumentError

WHOLE: Final = "load the file by taut.load(file, into=module) without on_demand"
"""What to do where a module on demand cannot serve."""

_HOW: Final = (
    "its module loads on demand (frozen, on the CPU): module.taut.release() first, or " + WHOLE
)


class Decodable(Protocol):
    """A weight that can be decoded: its name, its shape, and its values in memory of their own."""

    name: str
    shape: tuple[int, ...]

    def fresh(self) -> torch.Tensor:
        """Decode the values."""


class Absent(torch.Tensor):
    """Stands for a weight that is not decoded; each operation on it decodes the weight anew.

    Layers whose forward is known never meet one: their weights are put in place before they run.
    All other uses (a weight read by another module, `state_dict()`) are right, only slower. What
    would change the weight is an `ArgumentError`.
    """

    _weight: Decodable

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, weight: Decodable, dtype: torch.dtype) -> Absent:
        """A stand-in for `weight`; it says that it is a parameter without gradients."""
        made: Absent = torch.Tensor._make_wrapper_subclass(
            cls, weight.shape, dtype=dtype, device=torch.device("cpu"), requires_grad=False
        )
        made._weight = weight
        made._is_param = True  # isinstance(..., nn.Parameter)
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run an operation on freshly decoded values."""
        kwargs = kwargs or {}
        _check_unchanged(func, args)
        read: Callable[[object], object] = lambda x: x._weight.fresh() if isinstance(x, cls) else x  # noqa: E731
        if any(one.alias_info for one in func._schema.returns):  # type: ignore[attr-defined]
            # A view of what is no inference tensor must not be one either.
            with torch.inference_mode(False), torch.no_grad():
                return func(*tree_map(read, args), **tree_map(read, kwargs))
        return func(*tree_map(read, args), **tree_map(read, kwargs))

    def requires_grad_(self, requires_grad: bool = True) -> Absent:
        """Only False: there are no gradients."""
        if requires_grad:
            _refuse(self, "cannot have gradients")
        return self

    @property
    def data(self) -> Absent:
        """Itself: there is no graph to leave out, and nothing that may be written to."""
        return self

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        """Only itself, which is what `module.to` sets where nothing changes."""
        if value is not self:
            _refuse(self, "cannot be given other data")

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values, decoded anew."""
        return self._weight.fresh().numpy(force=force)

    def __setitem__(self, index: object, value: object) -> NoReturn:
        """Refused: it would change a copy."""
        _refuse(self, "cannot be written to")

    def share_memory_(self) -> NoReturn:
        """Refused: there is no memory."""
        _refuse(self, "cannot be shared")

    def __deepcopy__(self, memo: object) -> NoReturn:
        """Refused: a copy would decode from the same file without anybody's knowing."""
        _refuse(self, "cannot be copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refused, as copies are: save `module.state_dict()`."""
        _refuse(self, "cannot be pickled")

    def __repr__(self) -> str:  # type: ignore[override]
        """Name and shape; decodes nothing."""
        return f'Absent("{self._weight.name}", {list(self.shape)}, {self.dtype})'


def _check_unchanged(func: Callable[..., object], args: tuple[object, ...]) -> None:
    """Refuse an operation that would write to an absent weight, or make it another's."""
    formals = func._schema.arguments  # type: ignore[attr-defined]
    for formal, given in zip(formals, args, strict=False):
        if isinstance(given, Absent) and formal.alias_info and formal.alias_info.is_write:
            _refuse(given, f"{func} would change it")
    if func is torch.ops.aten._to_copy.default:
        (given,) = (one for one in args if isinstance(one, Absent))
        _refuse(given, "cannot move or change its dtype")


def _refuse(absent: Absent, why: str) -> NoReturn:
    raise ArgumentError(f'"{absent._weight.name}" {why}: {_HOW}')
