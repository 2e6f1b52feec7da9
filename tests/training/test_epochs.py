"""Where batches come from: how many there are, how often they can be had, and what goes wrong."""

import itertools
import traceback

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, IterableDataset, TensorDataset  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.training import epochs  # noqa: E402
from taut.training.epochs import counted, held, passed  # noqa: E402

SAMPLES = torch.arange(10.0).reshape(10, 1)


class Stream(IterableDataset):
    """Samples without a number."""

    def __iter__(self):
        return iter(SAMPLES)


class Lengthless(list):
    """A collection that knows no length, as some loaders have it."""

    def __len__(self):
        raise NotImplementedError


KINDS = {
    "list": [SAMPLES[:4], SAMPLES[4:8], SAMPLES[8:]],
    "loader": DataLoader(TensorDataset(SAMPLES), batch_size=4),
    "loader of a stream": DataLoader(Stream(), batch_size=4),
    "stream of batches": DataLoader(Stream(), batch_size=None),
    "no length": Lengthless(SAMPLES.split(4)),
    "function": lambda: SAMPLES.split(4),
    "function of an iterator": lambda: iter(SAMPLES.split(4)),
    "generator": (one for one in SAMPLES.split(4)),
    "zip": zip(SAMPLES.split(4), SAMPLES.split(4), strict=True),
    "map": map(torch.neg, SAMPLES.split(4)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_counted_and_had_again(kind):
    batches = held(KINDS[kind])
    count = counted(batches)
    assert count == (10 if kind == "stream of batches" else 3)
    assert len(list(passed(batches))) == len(list(passed(batches))) == count


def test_arrays_become_tensors():
    ((x, rest),) = passed([(np.ones(2, np.float32), {"y": np.arange(3)})])
    assert x.dtype == torch.float32 and rest["y"].tolist() == [0, 1, 2]


def test_what_has_no_end_or_is_too_much_to_hold_is_refused(monkeypatch):
    monkeypatch.setattr(epochs, "_ENDLESS", 50)
    with pytest.raises(ArgumentError, match=r"gave 50 batches, and no end of them.*islice"):
        counted(lambda: itertools.repeat(SAMPLES))
    with pytest.raises(ArgumentError, match=r"a repeat gives its batches only once.*a function"):
        held(itertools.repeat(SAMPLES))
    monkeypatch.setattr(epochs, "_HELD", 100)
    with pytest.raises(ArgumentError, match=r"more than can be held \(1 GiB\)"):
        held(iter([SAMPLES] * 3))


@pytest.mark.parametrize("batches", [SAMPLES, SAMPLES.numpy(), {"x": SAMPLES}])
def test_a_lone_batch_is_none_of_many(batches):
    with pytest.raises(ArgumentError, match=r"which is one at most; give a list of batches"):
        counted(batches)


class Failing:
    """Batches whose user's code fails in one place."""

    def __init__(self, where):
        self.where = where

    def __len__(self):
        if self.where == "len":
            raise KeyError("boo")
        raise TypeError

    def __iter__(self):
        if self.where == "iter":
            raise KeyError("boo")
        return self.batches()

    def batches(self):
        yield SAMPLES
        raise KeyError("boo")

    def __getitem__(self, at):
        raise KeyError("boo")


def fails():
    raise KeyError("boo")


def handed_on():
    """As by a process of a loader, which has the traceback as text alone."""
    try:
        fails()
    except KeyError:
        text = traceback.format_exc()
    yield exec("raise RuntimeError(text)", {"text": f"Caught in process 0.\nOriginal {text}"})


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        (Failing("len"), r"len\(\) of the batches failed"),
        (Failing("iter"), "the batches cannot be gone through"),
        (Failing("next"), "batch 2 cannot be had"),
        (handed_on, "batch 1 cannot be had"),
        (fails, "the function that gives batches failed"),
        (DataLoader([1, 2], collate_fn=lambda some: fails()), "batch 1 cannot be had"),
    ],
)
def test_what_the_callers_code_raises_is_told_with_its_line(batches, told):
    with pytest.raises(ArgumentError, match=rf"{told}: KeyError: 'boo' in line \d+ of test_epochs"):
        counted(batches)
        list(passed(batches))
