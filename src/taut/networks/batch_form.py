"""How a batch goes into a network: as it is, or without the targets that the network does not take.

A batch of a training set holds what the network is to give beside what it takes. Which parts it
takes is found by running it, before any work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.networks.calls import run, samples_of, told
from taut.networks.chain_cutting import OUTPUTS
from taut.networks.cuts import first_sample, tensors
from taut.networks.outputs import float_parts
from taut.networks.portions import MANY
from taut.networks.precision import AS_IT_IS, restore

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchForm:
    """`of` makes of each batch what the network takes; `note` tells of it.

    `whole`: nothing is left out.
    """

    of: Callable[[object], object] = lambda batch: batch
    note: str = ""
    whole: bool = True


def fitting(
    module: torch.nn.Module, batch: object, where: str
) -> tuple[BatchForm, tuple[str, ...]]:
    """The first form in which the network takes a batch, and notes.

    A widened network that takes it in no form is given back its half precision, in place, where it
    takes the batch then.

    Raises:
        ArgumentError: it takes the batch in no form; tells how it failed with the whole batch.
    """
    try:
        form = _running(module, batch, where)
        return form, tuple(filter(None, [form.note]))
    except ArgumentError:
        if not restore(module):
            raise
    form = _running(module, batch, where)
    return form, (AS_IT_IS, *filter(None, [form.note]))


def is_empty(batch: object) -> bool:
    """Whether there are no samples in a batch: no parts, or none along a tensor's first axis.

    >>> is_empty([]), is_empty({"x": [1]})
    (True, False)
    """
    if isinstance(batch, (tuple, list, Mapping)) and not batch:
        return True
    return any(part.ndim and not part.shape[0] for part in tensors(batch)[:1])


def _running(module: torch.nn.Module, batch: object, where: str) -> BatchForm:
    import torch

    first: ArgumentError | None = None
    for form in _forms(module, batch):
        try:
            with torch.no_grad():
                _run(module, form.of(batch), where)
        except ArgumentError as error:
            first = first or error
        else:
            why = first.__cause__ if first is not None else None
            return replace(form, note=f"{form.note} ({told(why)})") if why else form
    assert first is not None
    raise first


def _run(module: torch.nn.Module, batch: object, where: str) -> None:
    """Run a batch; of a large one whose output is huge some samples at a time, where it may be."""
    count, numbers = samples_of(batch), next((one.numel() for one in tensors(batch)), 0)
    each = count
    if count > 1 and numbers >= MANY:
        with suppress(ArgumentError):
            output = run(module, first_sample(batch), where)
            values = sum(one.numel() for one in float_parts(output).values())
            each = max(1, OUTPUTS // max(1, values))
            del output
    if each >= count:
        run(module, batch, where)
    for begin in range(0, count if each < count else 0, each):
        run(module, first_sample(batch, each, begin=begin), where)


def _forms(module: torch.nn.Module, batch: object) -> Iterator[BatchForm]:
    yield BatchForm()
    if isinstance(batch, Mapping):
        if left := _unknown(module, batch):
            yield _without(*left)
        elif len(batch) > 1 and _takes_any(module):
            yield from (_without(name) for name in reversed([*batch]))
    elif isinstance(batch, (tuple, list)):
        if type(batch) not in (tuple, list):  # of a named tuple's class, perhaps one argument
            yield BatchForm(lambda given: (given,), "each batch is given as one argument")
        for kept in range(len(batch) - 1, 0, -1):
            yield _without_last(kept, len(batch))


def _unknown(module: torch.nn.Module, batch: Mapping[str, object]) -> list[str]:
    """Entries that no parameter of the network's forward is called by, where others are."""
    if _takes_any(module):
        return []
    known = {one.name for one in _parameters(module)}
    left = [name for name in batch if name not in known]
    return left if len(left) < len(batch) else []


def _takes_any(module: torch.nn.Module) -> bool:
    return any(one.kind == one.VAR_KEYWORD for one in _parameters(module))


def _parameters(module: torch.nn.Module) -> list[inspect.Parameter]:
    return [*inspect.signature(module.forward).parameters.values()]


def _without(*left: str) -> BatchForm:
    """Batches without these entries."""
    names = ", ".join(f'"{name}"' for name in left)
    return BatchForm(
        lambda batch: {n: part for n, part in batch.items() if n not in left},  # type: ignore[attr-defined]
        f"{names} of each batch: not taken by the network, left out",
        whole=False,
    )


def _without_last(kept: int, parts: int) -> BatchForm:
    """Batches without what follows the first parts: the targets."""
    targets = "target is" if parts - kept == 1 else f"last {parts - kept} parts are"
    note = f"each batch has {parts} parts and the network takes {kept}: the {targets} left out"
    if kept == 1:
        return BatchForm(lambda batch: batch[0], note, whole=False)  # type: ignore[index]
    return BatchForm(lambda batch: tuple(batch[:kept]), note, whole=False)  # type: ignore[index]
