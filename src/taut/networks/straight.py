"""Runs of the caller's forward without what stands between a call and its gradient.

Gradient checkpointing computes a forward twice, torch.compile hands it to a compiler, and inference
mode keeps no record: none lets each use of a weight be followed. All change only speed and memory,
so that they are left out while a network is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def straight() -> Iterator[None]:
    """Within it checkpointed functions run once, and compiled ones as they were written.

    Inference mode is off, the caller's and that of the network's own code.

    It holds for the whole process; another thread's checkpointing only takes more memory meanwhile.
    """
    import torch

    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # else nothing was compiled; importing it takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_once())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(_recording())
        yield


class _Straight:
    """Takes the place of the autograd function of reentrant checkpointing."""

    @staticmethod
    def apply(function: Callable[..., object], preserve: bool, *args: object) -> object:
        return function(*args)


@contextmanager
def _recording() -> Iterator[None]:
    """Entering inference mode does nothing, be it a `with` or a decorator."""
    from torch.autograd.grad_mode import inference_mode

    ours = {"__enter__": lambda _: None, "__exit__": lambda *_: None}
    before = {name: vars(inference_mode)[name] for name in ours}
    try:
        for name, function in ours.items():
            setattr(inference_mode, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(inference_mode, name, function)


@contextmanager
def _once() -> Iterator[None]:
    """Checkpointed functions keep what they compute; the names are what `checkpoint` looks up."""
    from torch.utils import checkpoint

    def generator(*_: object, **__: object) -> Iterator[None]:
        yield

    ours = {
        "CheckpointFunction": _Straight,
        "_checkpoint_without_reentrant_generator": generator,
    }
    names = vars(checkpoint)
    before = {name: names[name] for name in ours if name in names}
    names.update({name: ours[name] for name in before})
    try:
        yield
    finally:
        names.update(before)
