"""What `train` and `teacher` may be: a loop, batches for the built-in loop, a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.networks.callables import call, load_named, names_callable
from taut.transform.settings import Training

if TYPE_CHECKING:
    from taut.training.loop import Task
    from taut.training.objective import Fit

TrainSpec: TypeAlias = "str | Path | Callable[..., object] | Iterable[object]"
TeacherSpec: TypeAlias = "str | Path | Callable[..., object]"


def open_train(spec: TrainSpec, training: Training, loss: Task | None = None) -> Fit:
    """The loop that `spec` means.

    A function of two arguments is the user's own `fit(model, loss)`; batches, or a function
    without arguments that gives those of an epoch, go to the built-in `Fit`; a `Fit` is taken as
    it is. A text names any of them as `file.py:name`.

    Raises:
        ArgumentError: it is none of these.
    """
    need_extra("torch", "hf", "training takes")
    from taut.training.loop import Fit as BuiltIn

    found, name = _named(spec)
    if isinstance(found, BuiltIn):
        return found
    if callable(found):
        required = _required(found, name)
        if required == 2:
            return found
        if required:
            raise ArgumentError(
                f"{name}: takes {required} arguments; a loop takes two, fit(model, loss), and a "
                "function that gives batches none"
            )
        return BuiltIn(found, training, loss)
    if isinstance(found, Iterable) and not isinstance(found, (str, bytes)):
        return BuiltIn(found, training, loss)
    raise _no_loop(found, name)


def _named(spec: TrainSpec) -> tuple[object, str]:
    """What `spec` is, or what the text names; and what messages call it."""
    if not isinstance(spec, (str, Path)):
        return spec, "train"
    name = str(spec)
    if not names_callable(name):
        raise ArgumentError(f'train: "{name}"; name a function in a file as build.py:fit')
    return load_named(name), name


def _no_loop(found: object, name: str) -> ArgumentError:
    """What is said of that which is neither called nor gone through."""
    kind = type(found).__name__
    if hasattr(found, "__getitem__") and hasattr(found, "__len__"):
        return ArgumentError(
            f"{name}: a {kind} gives samples and no batches; give "
            "torch.utils.data.DataLoader(it, batch_size=...)"
        )
    return ArgumentError(f"{name}: a {kind} is neither a loop fit(model, loss) nor batches")


def open_teacher(spec: TeacherSpec | None) -> Callable[..., object] | None:
    """The teacher: a network or any function of a batch; `file.py:name` may make the network.

    Raises:
        ArgumentError: it is nothing to call.
    """
    if spec is None or (callable(spec) and not isinstance(spec, (str, Path))):
        return spec
    if not isinstance(spec, (str, Path)):
        raise ArgumentError(f"teacher: a {type(spec).__name__} is nothing to call")
    import torch

    found = load_named(str(spec))
    if isinstance(found, torch.nn.Module):
        return found
    if not callable(found):
        raise ArgumentError(f"{spec}: a {type(found).__name__} is nothing to call")
    if _required(found, str(spec)):
        return found
    made = call(found, str(spec))
    if not callable(made):
        raise ArgumentError(f"{spec}: gave a {type(made).__name__}; it must give a network")
    return made


def _required(function: Callable[..., object], name: str) -> int:
    """How many arguments a call must give."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}: its arguments cannot be told; wrap it in a function"
        ) from None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)
