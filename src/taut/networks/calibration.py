"""The batches that a model is calibrated on, from a file, from code or from memory.

A batch is given to the model as torch itself would be called: a dict as keyword arguments, a tuple
or list as arguments in order, anything else as the one argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import numpy as np

from taut.errors import ArgumentError
from taut.extras import need_extra
from taut.io.digest import Digest
from taut.io.names import nearest
from taut.io.pytorch import is_tensor
from taut.networks.array_batches import array_batches
from taut.networks.callables import call, load_callable, names_callable
from taut.networks.calls import applied, explained
from taut.networks.texts import SUFFIXES, read_texts

if TYPE_CHECKING:
    import torch

    from taut.networks.models import LoadedModel
    from taut.networks.tokens import Tokenize

CalibrationSpec: TypeAlias = str | Path | Iterable[object] | Callable[[], Iterable[object]]
_ACCEPTED: Final = ".txt, .jsonl (texts), .npz (arrays), or file.py:function"
_AT_ONCE: Final = 1_000  # texts tokenised together to learn their lengths


@dataclass(frozen=True)
class Calibration:
    """Batches that can be gone through any number of times.

    `samples` are those of all batches together (the first axis), `digest` is an xxh3 of all that
    is in them: equal data have equal digests.
    """

    samples: int
    digest: str
    name: str
    _batches: Callable[[], Iterable[object]] = field(repr=False)
    _count: int = field(repr=False)

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


@dataclass(frozen=True)
class _Reading:
    """How texts and arrays are cut into batches; `limit` is in samples."""

    batch_size: int
    max_length: int
    limit: int | None


def open_calibration(
    spec: CalibrationSpec,
    model: LoadedModel,
    *,
    batch_size: int = 16,
    max_length: int = 256,
    limit: int | None = None,
) -> Calibration:
    """Open calibration data for a model, and run its first batch to see that the two fit.

    `spec` is a `.txt` or `.jsonl` of texts (`max_length` in tokens), a `.npz` of arrays whose
    first axis counts samples, `file.py:function` that gives an iterable of batches, such a
    function itself, or the batches, or texts in a list. Only texts and arrays are cut into batches
    of `batch_size`; `limit` is in samples. All but what a function gives is held in memory.

    Raises:
        ArgumentError: there is no such data, it is empty, or the model rejects the first batch.
    """
    torch = need_extra("torch", "hf", "calibration takes")
    for name, value in (("batch_size", batch_size), ("max_length", max_length), ("limit", limit)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name}: {value} is less than 1")
    where, given = _open(spec, model, _Reading(batch_size, max_length, limit))

    def batches() -> Iterator[object]:
        return map(as_tensors, given())

    count = samples = 0
    digest = Digest()
    for batch in batches():
        if not count:
            with torch.no_grad():
                run_batch(model.module, batch, f"{where}: batch 1")
        digest.add(batch, f"{where}: batch {count + 1}")
        count += 1
        samples += _samples(batch)
        if limit is not None and samples >= limit:
            break
    if not count:
        raise ArgumentError(f"{where}: has no batches")
    return Calibration(samples, digest.text(), where, batches, count)


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


def _open(
    spec: CalibrationSpec, model: LoadedModel, reading: _Reading
) -> tuple[str, Callable[[], Iterable[object]]]:
    """A name for messages, and what gives the batches of a pass."""
    if isinstance(spec, (str, Path)):
        return str(spec), _named(str(spec), model, reading)
    if is_tensor(spec) or isinstance(spec, Mapping) or hasattr(spec, "__array__"):
        raise ArgumentError(
            f"calib: a {type(spec).__name__} is one batch; give a list of batches: [batch]"
        )
    if isinstance(spec, Iterable):
        given = _given(spec, model, reading)
        return "calib", lambda: given
    if callable(spec):
        return "calib", _checked(spec, "calib")
    raise ArgumentError(f"calib: a {type(spec).__name__} is none of {_ACCEPTED}, or batches")


def _named(text: str, model: LoadedModel, reading: _Reading) -> Callable[[], Iterable[object]]:
    """What gives the batches of a file of texts or arrays, or of the user's function."""
    path = Path(text)
    if names_callable(text):
        return _checked(load_callable(text), text)
    if path.suffix.lower() in SUFFIXES:
        if model.tokenize is None:
            raise ArgumentError(f"{text}: texts want a tokenizer, and the model has none")
        batches = _tokenised(read_texts(path, reading.limit), model.tokenize, reading)
        return lambda: batches
    if path.suffix.lower() == ".npz":
        arrays = array_batches(path, model.module, reading.batch_size, reading.limit)
        return lambda: arrays
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = "" if path.exists() else nearest(path.name, beside)
    raise ArgumentError(f"{text}: calibration data are {_ACCEPTED}{near}")


def _given(spec: Iterable[object], model: LoadedModel, reading: _Reading) -> list[object]:
    """The caller's batches; texts become batches where the model has a tokenizer."""
    given = list(spec) if reading.limit is None else _within(spec, reading.limit)
    texts = [text for text in given if isinstance(text, str)]
    if texts and len(texts) == len(given) and model.tokenize is not None:
        return _tokenised(texts, model.tokenize, reading)
    return given


def _checked(function: Callable[..., object], where: str) -> Callable[[], Iterable[object]]:
    """The user's function, whose mistakes are told in words."""

    def batches() -> Iterator[object]:
        given = call(function, where)
        if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)) or is_tensor(given):
            raise ArgumentError(
                f"{where}: gave a {type(given).__name__}; it must give an iterable of batches"
            )
        steps = iter(given)
        # A generator's code runs only now.
        while (batch := call(lambda: next(steps, steps), where)) is not steps:
            yield batch

    return batches


def _within(batches: Iterable[object], limit: int) -> list[object]:
    """The first batches that have `limit` samples together."""
    kept: list[object] = []
    samples = 0
    for batch in batches:
        kept.append(batch)
        samples += _samples(batch)
        if samples >= limit:
            break
    return kept


def _tokenised(texts: list[str], tokenize: Tokenize, reading: _Reading) -> list[object]:
    """Batches of texts of about one length, so that little of a batch is padding."""
    lengths: list[int] = []
    for begin in range(0, len(texts), _AT_ONCE):
        some = tokenize(texts[begin : begin + _AT_ONCE], reading.max_length)
        mask = some.get("attention_mask")
        if mask is None:
            lengths += [len(text) for text in texts[begin : begin + _AT_ONCE]]
        else:
            lengths += [int(length) for length in mask.sum(1)]
    order = sorted(range(len(texts)), key=lambda i: lengths[i])  # stable: the same every time
    return [
        tokenize([texts[i] for i in order[begin : begin + reading.batch_size]], reading.max_length)
        for begin in range(0, len(texts), reading.batch_size)
    ]


def _samples(batch: object) -> int:
    """The first axis of the first tensor; a batch without one is one sample."""
    if isinstance(batch, Mapping):
        batch = tuple(batch.values())
    for part in batch if isinstance(batch, (tuple, list)) else (batch,):
        shape = tuple(getattr(part, "shape", ()))
        if shape:
            return int(shape[0])
    return 1
