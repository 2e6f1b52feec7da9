"""The batches that a model is calibrated on, from a file, from code or from memory.

A batch is given to the model as torch itself would be called: a dict as keyword arguments, a tuple
or list as arguments in order, anything else as the one argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io.digest import Digest
from taut.networks.batch_form import BatchForm, fitting, is_empty
from taut.networks.calls import applied, explained
from taut.networks.cuts import tensors
from taut.networks.given_batches import MOST, given_batches, is_sized
from taut.networks.portions import samples
from taut.networks.text_batches import Reading
from taut.networks.text_data import TextData
from taut.progress import Progress

if TYPE_CHECKING:
    import torch

    from taut.networks.models import LoadedModel

CalibrationSpec: TypeAlias = (
    str | Path | TextData | Iterable[object] | Callable[[], Iterable[object]]
)


@dataclass(frozen=True)
class Calibration:
    """Batches that can be gone through any number of times.

    `samples` are those of all batches together (the first axis), `digest` is an xxh3 of all that
    is in them: equal data have equal digests. `notes` say what is left out of the batches, and
    `is_whole` whether nothing is: a loss that wants targets has none otherwise. `positions` are
    tokens where batches are of tokens, and samples of all others; `largest` those of the batch
    that has most, and `longest` those of a sample of it.
    """

    samples: int
    digest: str
    name: str
    _batches: Callable[[], Iterable[object]] = field(repr=False)
    _count: int = field(repr=False)
    notes: tuple[str, ...] = ()
    is_whole: bool = True
    positions: int = 0
    largest: int = 0
    longest: int = 0

    def __len__(self) -> int:
        """Batches in one pass."""
        return self._count

    def __iter__(self) -> Iterator[object]:
        """One pass; raises ArgumentError if it has not as many batches as the first had."""
        left = self._count
        for batch in islice(self._batches(), self._count):
            yield batch
            left -= 1
        if left:
            raise ArgumentError(
                f"{self.name}: gave {self._count - left} batches, {self._count} the first time; it "
                "must give the same ones each time it is called"
            )


def open_calibration(
    spec: CalibrationSpec,
    model: LoadedModel,
    *,
    batch_size: int = 16,
    max_length: int = 256,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Open calibration data for a model, and run its first batch to see that the two fit.

    `spec` is a file or folder of texts, chats or tokens (`TextData` says how they are read), a file
    of arrays whose first axis counts samples, `file.py:function` that gives an iterable of
    batches, such a function itself, or the batches, or texts, chats or tokens in a list. Arrays,
    and texts that are not packed, are cut into batches of `batch_size` (texts after `max_length`
    tokens); `limit` is in samples. All but what a function gives is held in memory. Targets that
    the model does not take are left out of the batches, and empty batches are passed over.
    `progress` is told how far windows are that the model generates, which may take long.

    Raises:
        ArgumentError: there is no such data, it is empty, or the model rejects the first batch.
    """
    need_extra("torch", "hf", "calibration takes")
    _check_positive(batch_size=batch_size, max_length=max_length, limit=limit)
    found = given_batches(spec, model, Reading(batch_size, max_length, limit, progress))
    where, given = found.where, found.batches
    form = BatchForm()
    notes: tuple[str, ...] = ()
    count = number = positions = largest = longest = 0
    digest = Digest()
    for raw in _filled(given()):
        if not count:
            form, notes = fitting(model.module, raw, f"{where}: batch 1")
        batch = form.of(raw)
        digest.add(batch, f"{where}: batch {count + 1}")
        count += 1
        number += samples(batch)
        here = positions_of(batch)
        positions += here
        if here > largest:
            largest, longest = here, here // max(1, samples(batch))
        if limit is not None and number >= limit:
            break
        if count == MOST and not is_sized(spec):
            notes = (*notes, f"{where}: the first {MOST} batches are used; it has more")
            break
    if not count:
        raise ArgumentError(f"{where}: has no batches with samples in them")
    batches = lambda: map(form.of, _filled(given()))  # noqa: E731
    notes = (*found.notes, *notes)
    return Calibration(
        number, digest.text(), where, batches, count, notes, form.whole, positions, largest, longest
    )


def positions_of(batch: object) -> int:
    """Tokens of a batch, or its samples if its first tensor is none of whole numbers by sample."""
    first = next((one for one in tensors(batch) if one.ndim), None)
    if first is None or first.is_floating_point() or first.ndim != 2:
        return samples(batch)
    return int(first.numel())


def _check_positive(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ArgumentError(f"{name}: {value} is less than 1")


def check_loss(loss: object, calibration: Calibration) -> None:
    """Refuse a loss where it would be given batches without the targets that they came with.

    Raises:
        ArgumentError: parts of the batches were left out.
    """
    if loss is not None and not calibration.is_whole:
        raise ArgumentError(
            f"loss: {calibration.name} has parts that the network does not take, and loss would be "
            "called without them; leave loss out, or let the forward take all parts of a batch"
        )


def _filled(batches: Iterable[object]) -> Iterator[object]:
    """The batches that have samples, as tensors."""
    return (batch for batch in map(as_tensors, batches) if not is_empty(batch))


def as_tensors(batch: object) -> object:
    """The batch with tensors for its arrays of numbers: itself, or in a dict, tuple or list.

    >>> as_tensors({"x": np.ones(2)})
    {'x': tensor([1., 1.], dtype=torch.float64)}
    """
    import torch

    if isinstance(batch, np.ndarray) and batch.dtype.kind in "biuf":
        return torch.from_numpy(np.array(batch))
    if type(batch) is dict:
        return {name: as_tensors(part) for name, part in batch.items()}
    if type(batch) in (tuple, list):
        parts = [as_tensors(part) for part in cast("list[object]", batch)]
        return parts if isinstance(batch, list) else tuple(parts)
    return batch


def run_batch(module: torch.nn.Module, batch: object, where: str = "calibration batch") -> object:
    """What the module gives for one batch: a dict, arguments in order, or the one argument.

    Raises:
        ArgumentError: the module raised; the message has `where`, the exception and the batch.
    """
    with explained(f"{where}: the model rejects it", batch):
        return applied(module, batch)
