"""The batches of a training, gone through once for each epoch; what the caller's code raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from taut.errors import ArgumentError
from taut.io.pytorch import is_tensor
from taut.networks.batch_form import is_empty
from taut.networks.calibration import as_tensors
from taut.networks.calls import explained
from taut.networks.cuts import tensors

Batches = Iterable[object] | Callable[[], Iterable[object]]

_HELD: Final = 1 << 30  # bytes of batches that are held, of what can be gone through only once
_ENDLESS: Final = 1_000_000  # batches: an epoch that has more has no end


def held(batches: Batches) -> Batches:
    """The batches; those of an iterator, which gives them once, as a list.

    Raises:
        ArgumentError: they are none, the iterator is used up, fails, or gives more than 1 GiB.
    """
    if callable(batches) or not isinstance(batches, Iterator):
        return batches
    found: list[object] = []
    size = 0
    for batch in passed(batches):
        size += sum(part.numel() * part.element_size() for part in tensors(batch))
        if size > _HELD or len(found) == _ENDLESS:
            raise ArgumentError(
                f"train: a {type(batches).__name__} gives its batches only once, and they are "
                "more than can be held (1 GiB); give a function that makes it anew for each epoch"
            )
        found.append(batch)
    if not found:
        raise ArgumentError(
            f"train: there are no batches: the {type(batches).__name__} has none, or is used up; "
            "give a list, or a function that makes it anew for each epoch"
        )
    return found


def passed(batches: Batches) -> Iterator[object]:
    """One epoch; arrays of numpy come as tensors, and batches without samples are passed over.

    Raises:
        ArgumentError: these are no batches, or the caller's code raised.
    """
    steps = _begun(opened(batches))
    number = 1
    while True:
        with explained(f"train: batch {number} cannot be had"):
            batch = next(steps, steps)
        if batch is steps:
            return
        made = as_tensors(batch)
        if not is_empty(made):
            yield made
        number += 1


def opened(batches: Batches) -> Iterable[object]:
    """What an epoch is gone through by; raises as `passed`."""
    found: object = batches
    if callable(batches):
        with explained("train: the function that gives batches failed"):
            found = batches()
    if is_tensor(found) or isinstance(found, (Mapping, str)) or hasattr(found, "__array__"):
        raise ArgumentError(
            f"train: batches are a {type(found).__name__}, which is one at most; give a list of "
            "batches: [batch]"
        )
    if not isinstance(found, Iterable):
        raise ArgumentError(
            f"train: batches are a {type(found).__name__}; give an iterable, or a function "
            "that gives one for each epoch"
        )
    return found


def counted(batches: Batches) -> int:
    """Batches in an epoch: what `len` says, or else by going through one.

    Raises:
        ArgumentError: there are none, or no end of them; else as `passed`.
    """
    found = opened(batches)
    number = _length(found)
    if number is None:
        number = 0
        for _ in passed(found):
            number += 1
            if number == _ENDLESS:
                raise ArgumentError(
                    f"train: gave {number:,} batches, and no end of them; an epoch ends: cut it "
                    "with itertools.islice"
                )
    if not number:
        used = ": what gives them is used up after one pass" if isinstance(found, Iterator) else ""
        raise ArgumentError(
            f"train: there are no batches{used}; give a list, or a function that gives them anew"
        )
    return number


def _length(found: Iterable[object]) -> int | None:
    """What `len` says; None where there is none, as of a DataLoader over an IterableDataset."""
    with explained("train: len() of the batches failed"):
        try:
            return len(found)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            return None


def _begun(found: Iterable[object]) -> Iterator[object]:
    with explained("train: the batches cannot be gone through"):
        return iter(found)
