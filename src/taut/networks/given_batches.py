"""What gives the batches of calibration data: files of texts and arrays, functions, iterables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from taut.container.through_stores import telling_urls
from taut.errors import ArgumentError
from taut.io.names import nearest
from taut.io.pytorch import is_tensor
from taut.io.staged import staged, told_paths
from taut.io.stores import url_of
from taut.networks.array_batches import ARRAY_SUFFIXES, file_batches
from taut.networks.callables import call, load_callable, names_callable
from taut.networks.calls import own_line, told
from taut.networks.data_files import DATA_SUFFIXES, DEFAULT
from taut.networks.portions import samples
from taut.networks.text_batches import Batches, Reading, are_documents, text_batches
from taut.networks.text_data import TextData, text_data
from taut.networks.token_arrays import are_tokens, token_batches

if TYPE_CHECKING:
    from taut.networks.models import LoadedModel

MOST: Final = 10_000
"""Batches that are taken of an iterable that does not say how many it has."""

_TABLES: Final = (".csv", ".tsv", ".xls", ".xlsx", ".ods")
_PACKED: Final = (".gz", ".xz", ".bz2", ".zst", ".zip")
_PROSE: Final = (".md", ".rst", ".text")
_ACCEPTED: Final = (
    "texts (.txt, .jsonl, .json, .parquet, .arrow, a folder of them, or `default`), arrays and "
    "tokens (.npz, .npy, .pt), or file.py:function"
)


@dataclass(frozen=True)
class Given:
    """What gives the batches of a pass, its name for messages, and notes."""

    where: str
    batches: Callable[[], Iterable[object]]
    notes: tuple[str, ...] = ()


def given_batches(spec: object, model: LoadedModel, reading: Reading) -> Given:
    """What gives the batches that a caller names or hands over.

    Raises:
        ArgumentError: there are no such data, or they cannot be read.
    """
    if isinstance(spec, (str, Path)):
        return _named(str(spec), model, reading)
    if isinstance(spec, TextData):
        return _of_data(spec, model, reading)
    if is_tensor(spec) or isinstance(spec, Mapping) or hasattr(spec, "__array__"):
        return _one_array(spec, model, reading)
    if isinstance(spec, Iterable):
        return _given(spec, model, reading)
    if callable(spec):
        return Given("calib", _checked(spec, "calib"))
    if hasattr(spec, "__getitem__"):
        raise ArgumentError(
            f"calib: a {type(spec).__name__} is a set of samples; give batches, as a "
            "torch.utils.data.DataLoader of it"
        )
    raise ArgumentError(f"calib: a {type(spec).__name__} is none of {_ACCEPTED}, or batches")


def _named(text: str, model: LoadedModel, reading: Reading) -> Given:
    """What gives the batches of a file of texts or arrays, or of the user's function."""
    if names_callable(text):
        return Given(text, _checked(load_callable(text), text))
    return _of_data(text_data(text), model, reading)


def _of_data(data: TextData, model: LoadedModel, reading: Reading) -> Given:
    if not isinstance(data.source, (str, Path)):
        if is_tensor(data.source) or hasattr(data.source, "__array__"):
            return _one_array(data.source, model, reading, data)
        return _kept("calib", text_batches(data, model, reading, "calib"))
    if (url := url_of(data.source)) is None:
        return _of_path(data, model, reading)
    with staged(url, whole=True) as local, telling_urls():
        found = _of_path(replace(data, source=str(local)), model, reading)
        return replace(found, where=url, notes=tuple(map(told_paths, found.notes)))


def _of_path(data: TextData, model: LoadedModel, reading: Reading) -> Given:
    data = replace(data, source=str(data.source))
    where = str(data.source)
    path = Path(where)
    if where == DEFAULT or path.suffix.lower() in DATA_SUFFIXES or path.is_dir():
        return _kept(where, text_batches(data, model, reading, where))
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _kept(where, file_batches(path, model, data, reading))
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = _way_to_read(path) if path.exists() else nearest(path.name, beside)
    raise ArgumentError(f"{where}: calibration data are {_ACCEPTED}{near}")


def _way_to_read(path: Path) -> str:
    """How a file of another kind becomes one that is read."""
    ending = path.suffix.lower()
    if ending in _TABLES:
        return '; write the column of texts as .jsonl, a line {"text": "..."} for each row'
    if ending in _PACKED:
        return f"; unpack it first, into {path.stem}"
    if ending in _PROSE:
        return f"; name it {path.stem}.txt"
    return ""


def _one_array(
    spec: object, model: LoadedModel, reading: Reading, data: TextData | None = None
) -> Given:
    """A lone array or tensor: tokens, or one batch, which wants a list around it."""
    if not isinstance(spec, Mapping):
        array = np.asarray(spec.detach().cpu() if is_tensor(spec) else spec)
        data = data or TextData("calib")
        if are_tokens(array, model, data):
            return _kept("calib", token_batches(array, model, data, "calib", reading.progress))
    raise ArgumentError(
        f"calib: a {type(spec).__name__} is one batch; give a list of batches: [batch]"
    )


def _kept(where: str, found: Batches) -> Given:
    batches, notes = found
    return Given(where, lambda: batches, notes)


def _given(spec: Iterable[object], model: LoadedModel, reading: Reading) -> Given:
    """The caller's batches; texts become batches where the model has a tokenizer."""
    steps = _steps(spec, "calib")
    if reading.limit is not None:
        given = _within(steps, reading.limit)
    else:
        given = list(steps if is_sized(spec) else islice(steps, MOST + 1))
    if model.tokenize is not None and are_documents(given):
        return _kept("calib", text_batches(TextData(given), model, reading, "calib"))
    return Given("calib", lambda: given)


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
