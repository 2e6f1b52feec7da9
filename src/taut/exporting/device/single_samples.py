"""Batches cut into single samples of one shape, as runtimes on phones and boards take them.

Such a file has fixed shapes. Texts are padded to one length, with an `attention_mask` of 0 there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.networks.calls import applied, are_arguments, evaluating, outline, samples_of, told

if TYPE_CHECKING:
    import torch

_MASK: Final = "attention_mask"
_STEP: Final = 32  # lengths of texts are multiples of it
_CALIBRATED: Final = 512  # samples that ranges are measured on
_CHECKED: Final = 32  # samples that the check runs


@dataclass(frozen=True)
class Samples:
    """One sample as the network's forward takes it, more of its shape, and what there is to say.

    Ranges are measured on `data`; both models are run on `checked`.
    """

    example: object
    data: tuple[object, ...]
    checked: tuple[object, ...]
    notes: tuple[str, ...]


def single_samples(module: torch.nn.Module, batches: Sequence[object]) -> Samples:
    """Cut batches into samples of the first one's shape; where a network takes none, leave them.

    Raises:
        ArgumentError: there is no batch, or the network does not run on the first.
    """
    if not batches:
        raise ArgumentError("calib (--calib): gives no batch, and one is needed as an example")
    padded, length = _padded(module, batches)
    _run(module, padded[0])
    parts = [sample for batch in padded for sample in cut_samples(batch)]
    notes = (
        [f"takes texts of {length} tokens: shorter ones padded, with {_MASK} 0"] if length else []
    )
    if not _runs(module, parts[0]):
        parts = list(padded)
        notes.append(f"takes batches of {samples_of(parts[0])}, as the network runs on no single "
                     "sample")  # fmt: skip
    wanted = outline(parts[0])
    found = [part for part in parts if outline(part) == wanted]
    if len(found) < len(parts):
        notes.append(f"{len(parts) - len(found)} of {len(parts)} samples have another shape than "
                     "the first, which is the file's, and are left out")  # fmt: skip
    notes.append(f"takes {wanted}: the shapes are fixed")
    return Samples(found[0], _spread(found, _CALIBRATED), _spread(found, _CHECKED), tuple(notes))


def _spread(found: Sequence[object], most: int) -> tuple[object, ...]:
    """At most so many, from all over."""
    return tuple(found[:: max(1, -(-len(found) // most))])


def cut_samples(batch: object) -> Iterator[object]:
    """The samples of a batch: each of its tensors cut along its first axis."""
    import torch

    count = samples_of(batch)

    def cut(value: object, at: int) -> object:
        shared = not isinstance(value, torch.Tensor) or not value.ndim or len(value) != count
        return value if shared else value[at : at + 1].contiguous()  # type: ignore[index]

    for at in range(count):
        yield _each(batch, lambda value, at=at: cut(value, at))  # type: ignore[misc]


def _each(batch: object, change: Callable[[object], object]) -> object:
    if isinstance(batch, Mapping):
        return {str(name): change(value) for name, value in batch.items()}
    if are_arguments(batch):
        return tuple(change(value) for value in batch)
    return change(batch)


def _padded(module: torch.nn.Module, batches: Sequence[object]) -> tuple[Sequence[object], int]:
    """Batches of texts at one length; 0 and the batches themselves where they are none."""
    lengths = [_length(batch) for batch in batches]
    if not all(lengths):
        return batches, 0
    most = max(lengths)
    whole = max(2 * _STEP, -(-most // _STEP) * _STEP)
    for length in dict.fromkeys((whole, most)):  # positions may end before a multiple
        found = [_at_length(batch, length) for batch in batches]
        if length == most or _runs(module, found[0]):
            return found, length
    raise AssertionError("the longest is one of the lengths")


def _length(batch: object) -> int:
    """The tokens of the texts in a batch, if it is one of texts with a mask."""
    mask = batch.get(_MASK) if isinstance(batch, Mapping) else None
    shape = tuple(getattr(mask, "shape", ()))
    return int(shape[1]) if len(shape) == 2 else 0


def _at_length(batch: object, length: int) -> object:
    import torch

    was = _length(batch)

    def pad(value: object) -> object:
        texts = isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] == was
        if not texts:
            return value
        return torch.nn.functional.pad(value, (0, length - was))  # type: ignore[arg-type]

    return _each(batch, pad)


def _runs(module: torch.nn.Module, batch: object) -> bool:
    try:
        _run(module, batch)
    except ArgumentError:
        return False
    return True


def _run(module: torch.nn.Module, batch: object) -> object:
    """What a network gives of a batch.

    Raises:
        ArgumentError: it does not run on it.
    """
    import torch

    try:
        with evaluating(module), torch.no_grad():
            return applied(module, batch)
    except Exception as error:  # the caller's code may raise anything
        raise ArgumentError(
            f"the module does not run on the example ({outline(batch)}): {told(error)}; give a "
            "batch as its forward takes it"
        ) from error
