"""The user's own code fails: one message with the call and the line in their file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError
from taut.networks import open_calibration, open_model
from taut.scoring.user_score import judged

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.ones(2, 3)


def _fails(*_: object, **__: object) -> object:
    raise KeyError("mine")


class _Evaluated(nn.Linear):
    def eval(self) -> object:  # type: ignore[override]
        return _fails()


class _Copied(nn.Linear):
    def __deepcopy__(self, memo: object) -> object:
        return _fails()


class _Loaded(nn.Linear):
    def load_state_dict(self, *_: object, **__: object) -> object:  # type: ignore[override]
        return _fails()


class _Stored(nn.Linear):
    def state_dict(self, *_: object, **__: object) -> dict[str, object]:  # type: ignore[override]
        return _fails()  # type: ignore[return-value]


class _Endless(list[object]):
    def __len__(self) -> int:
        return _fails()  # type: ignore[return-value]


class _Closed:
    def __iter__(self) -> Iterator[object]:
        return _fails()  # type: ignore[return-value]


def _hooked() -> "torch.nn.Module":
    net = nn.Sequential(nn.Linear(3, 3))
    net[0].register_forward_hook(_fails)
    return net


def _loaded(path: Path, on_demand: bool) -> object:
    taut.compress(nn.Linear(3, 3), path / "o")
    return taut.load(path / "o", into=_Loaded(3, 3).eval(), on_demand=on_demand)


def _calibrated(net: "torch.nn.Module", batches: object) -> object:
    return open_calibration(batches, open_model(net))  # type: ignore[arg-type]


CALLS: dict[str, tuple[Callable[[Path], object], str]] = {
    "eval": (lambda _: open_model(_Evaluated(3, 3)), "module _Evaluated: eval() failed"),
    "a copy": (lambda _: open_model(_Copied(3, 3)), "module _Copied cannot be copied"),
    "a hook": (lambda _: _calibrated(_hooked(), [X]), "calib: batch 1: the model rejects it"),
    "a length": (lambda _: _calibrated(nn.Linear(3, 3), _Endless([X])), "calib: its length failed"),
    "an iterator": (lambda _: _calibrated(nn.Linear(3, 3), _Closed()), "calib: failed"),
    "load_state_dict": (lambda path: _loaded(path, False), "into: load_state_dict() of _Loaded"),
    "and on demand": (lambda path: _loaded(path, True), "into: load_state_dict() of _Loaded"),
    "a score": (lambda _: judged(_fails, nn.Linear(3, 3)), "score: failed"),
    "a score that exits": (lambda _: judged(lambda m: exit("mine"), nn.Linear(3, 3)), "score: fai"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_call_and_the_line_are_told(name: str, tmp_path: Path) -> None:
    call, said = CALLS[name]
    with pytest.raises(ArgumentError) as seen:
        call(tmp_path)
    message = str(seen.value)
    assert message.startswith(said) and "mine" in message
    assert " of test_failing_code.py" in message
    assert seen.value.__cause__ is not None


def test_a_batch_is_told_by_the_number_that_it_has_for_the_caller(tmp_path: Path) -> None:
    """Though some are set aside to judge by, and few are cut up."""
    for count in (4, 20):
        batches = [torch.ones(8, 32) * n for n in range(1, count + 1)]
        batches[-1][0, 0] = float("nan")
        seeds = [_told(batches, tmp_path / f"{count}", seed) for seed in range(3)]
        assert all(one.startswith(f"batch {count}: ") for one in seeds)


def _told(batches: list["torch.Tensor"], path: Path, seed: int) -> str:
    """The message of a calibration."""
    with pytest.raises(ArgumentError) as found:
        taut.compress(nn.Sequential(nn.Linear(32, 32)), path, bits=9, calib=batches, seed=seed)
    return str(found.value)


def test_a_state_that_fails_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"module _Stored: its state_dict\(\) failed: KeyError"):
        taut.analyze(_Stored(3, 3))
