"""What gives the batches of calibration data: files of texts and arrays, functions, iterables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.pytorch import is_tensor
from taut.networks.array_batches import array_batches
from taut.networks.callables import call, load_callable, names_callable
from taut.networks.calls import own_line, told
from taut.networks.portions import samples
from taut.networks.texts import SUFFIXES, read_texts

if TYPE_CHECKING:
    from taut.networks.models import LoadedModel
    from taut.networks.tokens import Tokenize

MOST: Final = 10_000
"""Batches that are taken of an iterable that does not say how many it has."""

_ACCEPTED: Final = ".txt, .jsonl (texts), .npz (arrays), or file.py:function"
_AT_ONCE: Final = 1_000  # texts tokenised together to learn their lengths


@dataclass(frozen=True)
class Reading:
    """How texts and arrays are cut into batches; `limit` is in samples."""

    batch_size: int
    max_length: int
    limit: int | None


def given_batches(
    spec: object, model: LoadedModel, reading: Reading
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
    if hasattr(spec, "__getitem__"):
        raise ArgumentError(
            f"calib: a {type(spec).__name__} is a set of samples; give batches, as a "
            "torch.utils.data.DataLoader of it"
        )
    raise ArgumentError(f"calib: a {type(spec).__name__} is none of {_ACCEPTED}, or batches")


def _named(text: str, model: LoadedModel, reading: Reading) -> Callable[[], Iterable[object]]:
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


def _given(spec: Iterable[object], model: LoadedModel, reading: Reading) -> list[object]:
    """The caller's batches; texts become batches where the model has a tokenizer."""
    steps = _steps(spec, "calib")
    if reading.limit is not None:
        given = _within(steps, reading.limit)
    else:
        given = list(steps if is_sized(spec) else islice(steps, MOST + 1))
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
        yield from _steps(given, where)  # a generator's code runs only now

    return batches


def _steps(batches: Iterable[object], where: str) -> Iterator[object]:
    """The batches of the user's iterable, whose failures are told in words."""
    steps = call(lambda: iter(batches), where)
    assert isinstance(steps, Iterator)
    number = 1
    while True:
        batch = call(lambda: next(steps, steps), where, f" at batch {number}")
        if batch is steps:
            return
        yield batch
        number += 1


def is_sized(batches: object) -> bool:
    """Whether it says how many batches it has; a DataLoader of an IterableDataset cannot."""
    try:
        len(batches)  # type: ignore[arg-type]
    except TypeError:
        return False
    except Exception as error:
        raise ArgumentError(f"calib: its length failed{own_line(error)}: {told(error)}") from error
    return True


def _within(batches: Iterable[object], limit: int) -> list[object]:
    """The first batches that have `limit` samples together."""
    kept: list[object] = []
    count = 0
    for batch in batches:
        kept.append(batch)
        count += samples(batch)
        if count >= limit:
            break
    return kept


def _tokenised(texts: list[str], tokenize: Tokenize, reading: Reading) -> list[object]:
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
