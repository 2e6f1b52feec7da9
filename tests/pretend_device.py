"""A device that is none: what lies on it is told apart from what does not, with no GPU at hand.

Tensors "on" it are plain tensors on the CPU whose memory is known, so that all of PyTorch works and
gives the same bits. Their `device` says `PRETENDED`. An operation on tensors of both places is an
error, as it is with CUDA; so is numpy's looking at one that lies there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

PRETENDED = torch.device("privateuseone", 0)
"""What the device is called: PyTorch knows the word, and has nothing behind it."""

_TO = (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.type, torch.Tensor.type_as)
# What looks at numbers of tensors beside the one at work, wherever these lie: as CUDA does.
_EITHER = ("index", "_index_put_impl_", "index_put_", "index_put", "copy_", "_to_copy", "set_")


class MixedError(RuntimeError):
    """An operation has tensors of two devices."""


class _Places:
    """Which memory lies on the device; `moved` counts bytes that were brought there."""

    def __init__(self) -> None:
        self._known: dict[int, torch.UntypedStorage] = {}  # kept: an address is not used again
        self.moved = 0
        self.worked = 0
        self.factories = 0  # how deep within a call that has tensors of the device

    def has(self, tensor: object) -> bool:
        return isinstance(tensor, torch.Tensor) and _address(tensor) in self._known

    def put(self, tensor: torch.Tensor) -> None:
        if isinstance(tensor, torch.Tensor) and _address(tensor):
            self._known[_address(tensor)] = tensor.untyped_storage()


def _address(tensor: torch.Tensor) -> int:
    if tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage()._cdata


class _Checked(TorchDispatchMode):
    """Every operation of PyTorch's core: no mixing, and results lie where the operands do."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_flatten((args, kwargs or {}))[0]
        flat = [one for one in given if _counts(one)]
        there = [self.places.has(one) for one in flat]
        name = func.overloadpacket.__name__
        if any(there) and not all(there) and name not in _EITHER:
            shapes = [
                f"{tuple(o.shape)} {'there' if t else 'here'}"
                for o, t in zip(flat, there, strict=True)
            ]
            raise MixedError(f"{func}: {'; '.join(shapes)}")
        found = func(*args, **(kwargs or {}))
        lies = there[0] if there else any(map(self.places.has, given)) or self.places.factories > 0
        if name == "_to_copy":
            lies = self.places.has(args[0])
        if lies:
            self.places.worked += 1
            tree_map_only(torch.Tensor, self._put, found)
        return found

    def _put(self, tensor: torch.Tensor) -> torch.Tensor:
        self.places.put(tensor)
        return tensor


def _counts(one: object) -> bool:
    """Whether it has to lie with the others: single numbers may come from the CPU."""
    return isinstance(one, torch.Tensor) and one.ndim > 0 and one.layout == torch.strided


class _Told(TorchFunctionMode):
    """What Python says and asks of devices."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        places = self.places
        if func == torch.Tensor.device.__get__ and places.has(args[0]):
            return PRETENDED
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and places.has(args[0]):
            raise TypeError("can't convert a tensor of the pretended device to numpy")
        if func in _TO:
            return self._moved(func, args, kwargs)
        if func == torch.Tensor.backward:
            with self:  # for what hooks do on the way
                given = (
                    dict(zip(("gradient", "retain_graph", "create_graph"), args[1:], strict=False))
                    | kwargs
                )
                return torch.autograd.backward(args[0], given.pop("gradient", None), **given)
        if func == torch.histc:  # of integers, as CUDA has it: mixtures of experts take it there
            args = (args[0].float(), *args[1:])
        wanted = kwargs.get("device")
        if wanted is not None:
            there = _is_pretended(wanted)
            kwargs["device"] = "cpu"
            found = func(*args, **kwargs)
            if there:
                places.put(found)
            return found
        inside = any(places.has(one) for one in tree_flatten((args, kwargs))[0])
        new = getattr(func, "__name__", "") in ("__get__", "__set__")
        places.factories += inside and not new
        try:
            return func(*args, **kwargs)
        finally:
            places.factories -= inside and not new

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        """`to` and its like: a copy on the other side, or what it is where that is the same."""
        tensor, rest = args[0], list(args[1:])
        before = self.places.has(tensor)
        there = False if func == torch.Tensor.cpu else before
        for at, one in enumerate(rest):
            if isinstance(one, torch.Tensor):  # like another one
                there = self.places.has(one)
            elif isinstance(one, torch.device) or (isinstance(one, str) and func == _TO[0]):
                there, rest[at] = _is_pretended(one), torch.device("cpu")
        if kwargs.get("device") is not None:
            there, kwargs["device"] = _is_pretended(kwargs["device"]), "cpu"
        kwargs.pop("non_blocking", None)
        if there == before:
            return func(tensor, *rest, **kwargs)  # type: ignore[no-any-return]
        found = _copied(func(tensor, *rest, **kwargs), there, self.places)
        return found


def _is_pretended(device: Any) -> bool:
    return torch.device(device).type == PRETENDED.type


def _copied(tensor: torch.Tensor, there: bool, places: _Places) -> torch.Tensor:
    return _Move.apply(tensor, there, places)  # type: ignore[no-any-return]


class _Move(torch.autograd.Function):
    """A copy on the other side; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, there: bool, places: _Places) -> torch.Tensor:
        ctx.way = there, places
        with torch.utils._python_dispatch._disable_current_modes():
            found = tensor.detach().clone()
        if there:
            places.put(found)
            places.moved += found.nbytes
        return found

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        there, places = ctx.way
        with torch.utils._python_dispatch._disable_current_modes():
            found = gradient.detach().clone()
        if not there:
            places.put(found)
        return found, None, None


@contextlib.contextmanager
def pretended() -> Iterator[_Places]:
    """Within it there is such a device."""
    places = _Places()
    before = torch.autograd.has_torch_function
    # So that `torch.autograd.grad` runs within the modes, with the hooks that it calls.
    torch.autograd.has_torch_function = lambda _: False  # type: ignore[assignment]
    try:
        with _Checked(places), _Told(places):
            yield places
    finally:
        torch.autograd.has_torch_function = before
