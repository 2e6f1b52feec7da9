"""Calls of torch's Python interface, handed to a function while a network runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

Function = Callable[..., object]
Handle = Callable[
    [AbstractContextManager[object], Function, tuple[Any, ...], dict[str, Any]], object
]


def handing_over(handle: Handle) -> AbstractContextManager[object]:
    """Within it, `handle(itself, function, args, kwargs)` gives what a call gives.

    Calls that `handle` makes are not handed over, unless it makes them within the context itself,
    which it is given. What `handle` holds goes when the context goes.
    """
    found: AbstractContextManager[object] = _calls()(handle)
    return found


@cache
def _calls() -> type[Any]:
    """One class for all: one for each use would be a cycle, which keeps what it knows."""
    from torch.overrides import TorchFunctionMode

    class Calls(TorchFunctionMode):
        def __init__(self, handle: Handle) -> None:
            super().__init__()
            self._handle = handle

        def __torch_function__(
            self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> object:
            return self._handle(self, func, args, kwargs or {})

    return Calls
