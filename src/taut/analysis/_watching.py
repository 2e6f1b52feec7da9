"""Every call of torch's Python interface, seen while a network runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

from taut.analysis._layer_calls import Function
from taut.analysis._recurrent import written_out
from taut.networks.torch_calls import handing_over

Watch = Callable[[Function, tuple[object, ...], dict[str, object]], object]


def watching(watch: Watch) -> AbstractContextManager[object]:
    """Within it, every call of torch's Python interface goes through `watch`; gradients stay on."""
    import torch
    from torch.nn import functional

    attend = functional.multi_head_attention_forward
    attention = _opened(attend)

    def handle(
        again: AbstractContextManager[object], func: Function, args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:  # fmt: skip
        inside = attention if func is attend else written_out(func)
        if inside is not None:
            with again:  # so that its projections are watched
                return inside(*args, **kwargs)
        if func is torch._C._set_grad_enabled and args == (False,):
            return None  # what a model computes under no_grad counts as all else does
        return watch(func, args, kwargs)

    return handing_over(handle)


def _opened(function: Function) -> Function:
    """Torch's function, with the question answered whether to hand over to who watches: no.

    It is asked before anything is computed, and would hand itself over for ever. A new function of
    the same code; torch's own is left as it is.
    """
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, "has_torch_function": lambda _: False}
    opened = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened
