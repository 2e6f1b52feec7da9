"""Calls of the caller's code: a batch as its module's arguments, and its failures in words."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeGuard, cast

from taut.errors import ArgumentError, TautError

if TYPE_CHECKING:
    import torch


_NOTHING: Final = object()
_LIBRARIES: Final = ("site-packages", "dist-packages")
_TRACE: Final = "Traceback (most recent call last):"
_FRAME: Final = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_OURS: Final = Path(__file__).parents[1]
_PYTHON: Final = Path(sysconfig.get_path("stdlib"))


@contextmanager
def explained(said: str, batch: object = _NOTHING) -> Iterator[None]:
    """Turn whatever the caller's code raises into an error in words.

    The message is `said` (what was called), the exception, the last line of the caller's own code
    on the way to it and, where one is given, the shapes of the batch. Errors of ours, and a lack of
    memory, pass as they are.

    Raises:
        ArgumentError: the body raised.
    """
    try:
        yield
    except (TautError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # the caller's code may raise anything
        given = "" if batch is _NOTHING else f" (the batch is {outline(batch)})"
        raise ArgumentError(f"{said}: {told(error)}{own_line(error)}{given}") from error


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode, and each part's own mode again afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, training in modes:
            part.training = training


def told(error: BaseException) -> str:
    """The kind of an exception and the first line of its message.

    >>> told(KeyError("x"))
    "KeyError: 'x'"
    """
    lines = str(error).strip().splitlines()
    if _TRACE in str(error):  # of a worker of a DataLoader, which hands on all as text
        return lines[-1][:300]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def own_line(error: BaseException) -> str:
    """` in line 7 of score.py`: the last line of the caller's own code on the way to an error.

    What lies in Python's library, in installed packages or in Taut is not the caller's own.
    """
    frames = [(f.filename, str(f.lineno)) for f in traceback.extract_tb(error.__traceback__)]
    text = str(error)
    frames += _FRAME.findall(text) if _TRACE in text else []
    for file, line in reversed(frames):
        path = Path(file)
        foreign = is_ours(file) or path.is_relative_to(_PYTHON)
        if not (foreign or file.startswith("<") or set(path.parts) & set(_LIBRARIES)):
            return f" in line {line} of {path.name}"
    return ""


def is_ours(file: str) -> bool:
    """Whether a file is of Taut's own code."""
    return Path(file).is_relative_to(_OURS)


def outline(batch: object) -> str:
    """A batch in a few words: `{input_ids: int64 [16, 32]}`."""
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{name}: {outline(part)}" for name, part in batch.items()) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + ", ".join(outline(part) for part in batch[:8]) + ")"
    if hasattr(batch, "shape") and hasattr(batch, "dtype"):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    return f"a {type(batch).__name__}"


def run(
    module: torch.nn.Module, batch: object, where: str, named: Mapping[str, object] | None = None
) -> object:
    """The module's output for a batch: a dict, arguments in order, or the one argument.

    `named` are keywords beside arguments in order.

    Raises:
        ArgumentError: the module raised.
    """
    with explained(f"{where}: the model rejects it", (batch, named) if named else batch):
        return applied(module, batch, named)


def applied(
    module: torch.nn.Module, batch: object, named: Mapping[str, object] | None = None
) -> object:
    """Give a dict as keywords, a tuple or list as arguments in order, else the one argument.

    `named` are keywords beside these. The module works on copies: what it does in place leaves the
    batch as it was.
    """
    beside = cast("dict[str, object]", copied(fitted(named or {}, module)))
    return spread(module, copied(fitted(batch, module)), beside)


def spread(module: torch.nn.Module, batch: object, named: Mapping[str, object]) -> object:
    """Call the module with a batch as `applied` does, the very tensors."""
    if isinstance(batch, Mapping):
        return module(**batch, **named)
    if are_arguments(batch):
        return module(*batch, **named)
    return module(batch, **named)


def are_arguments(batch: object) -> TypeGuard[tuple[object, ...] | list[object]]:
    """Whether a batch is arguments in order; a PackedSequence is one, though it is a tuple.

    >>> are_arguments((1, 2)), are_arguments({"x": 1})
    (True, False)
    """
    import torch

    packed = torch.nn.utils.rnn.PackedSequence
    return isinstance(batch, (tuple, list)) and not isinstance(batch, packed)


def fitted(batch: object, module: torch.nn.Module) -> object:
    """The batch on the module's device, its half-precision floats as the module's."""
    import torch

    one = next(module.parameters(), None)
    if one is None:
        return batch

    def fit(tensor: torch.Tensor) -> torch.Tensor:
        narrow = tensor.dtype in (torch.float16, torch.bfloat16)
        return tensor.to(one.device, one.dtype if narrow else tensor.dtype)

    return _each(batch, fit)


def copied(batch: object) -> object:
    """The batch with copies of its tensors, in dicts, tuples and lists of their own.

    >>> import torch
    >>> batch = {"x": torch.ones(2)}
    >>> copied(batch)["x"].zero_(), batch["x"]
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    return _each(batch, lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))


def _each(value: object, change: Callable[[torch.Tensor], torch.Tensor]) -> object:
    """What a batch holds, each of its tensors changed."""
    import torch

    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _each(part, change) for name, part in value.items()}
    if type(value) is tuple:
        return tuple(_each(part, change) for part in value)
    if type(value) is list:
        return [_each(part, change) for part in value]
    return value


def samples_of(batch: object) -> int:
    """The first axis of the first tensor; a batch without one is one sample."""
    parts = tuple(batch.values()) if isinstance(batch, Mapping) else batch
    for part in parts if isinstance(parts, (tuple, list)) else (parts,):
        shape = tuple(getattr(part, "shape", ()))
        if shape:
            return int(shape[0])
    return 1
