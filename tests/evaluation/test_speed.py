"""Calls take turns, and their times are read as they should be; no real time is asserted."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, TautError
from taut.evaluation.speed import Repeats, compare_speed, time_load


class Clock:
    """A clock that calls move on."""

    def __init__(self) -> None:
        self.now, self.called = 0.0, []

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, *seconds: float):
        """A call that takes these seconds in turn, the last one for ever."""
        left = list(seconds)

        def call() -> None:
            self.called.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_percentiles_and_throughput_are_of_the_timed_calls_alone() -> None:
    clock = Clock()
    run = clock.run("a", 50.0, *(0.1 * k for k in range(1, 11)))  # the warm-up is a slow one
    found = compare_speed(
        {"a": run}, samples=4, runtime="r", threads=2, repeats=Repeats(1, 10), clock=clock
    )["a"]
    assert found.p50 == pytest.approx(0.55) and found.p95 == pytest.approx(0.955)
    assert found.throughput == pytest.approx(4 * 10 / 5.5)
    assert (found.batch, found.threads, found.warmup, found.runs) == (4, 2, 1, 10)
    assert found.runtime == "r"


def test_runs_take_turns_in_alternating_order() -> None:
    clock = Clock()
    runs = {"a": clock.run("a", 1.0), "b": clock.run("b", 2.0)}
    found = compare_speed(runs, samples=1, runtime="r", repeats=Repeats(1, 6, 1e9), clock=clock)
    assert "".join(clock.called) == "ab" + "abba" * 3
    assert (found["a"].p50, found["b"].p50) == (1.0, 2.0)


@pytest.mark.parametrize(("seconds", "runs"), [(1.0, 5), (14.0, 7), (1e9, 30)])
def test_it_stops_in_time_but_not_before_five_runs(seconds: float, runs: int) -> None:
    clock = Clock()
    two = {"a": clock.run("a", 1.0), "b": clock.run("b", 1.0)}
    found = compare_speed(
        two, samples=1, runtime="r", repeats=Repeats(seconds=seconds), clock=clock
    )
    assert (found["a"].runs, found["b"].runs) == (runs, runs)


def test_threads_of_torch_and_the_garbage_collector_are_put_back() -> None:
    torch = pytest.importorskip("torch")
    before, seen = torch.get_num_threads(), []

    def run() -> None:
        seen.append((torch.get_num_threads(), gc.isenabled()))
        if len(seen) > 5:
            raise RuntimeError("enough")

    other = before + 1
    with pytest.raises(RuntimeError):
        compare_speed({"a": run}, samples=1, runtime="torch", threads=other)
    assert set(seen) == {(other, False)}
    assert torch.get_num_threads() == before and gc.isenabled()
    asked = compare_speed({"a": lambda: 0}, samples=1, runtime="torch", repeats=Repeats(runs=5))
    assert asked["a"].threads == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"runs": {}}, "nothing to run"),
        ({"samples": 0}, "samples 0"),
        ({"threads": 0}, "threads 0"),
        ({"repeats": {"warmup": -1}}, "warmup -1"),
        ({"repeats": {"runs": 4}}, "runs 4 must be 5"),
        ({"repeats": {"seconds": float("nan")}}, "seconds nan"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(given: dict, said: str) -> None:
    clock = Clock()
    given, usual = dict(given), {"runs": {"a": clock.run("a", 1.0)}, "samples": 1}
    with pytest.raises(ArgumentError, match=said):
        repeats = Repeats(**given.pop("repeats", {}))
        compare_speed(**{**usual, **given}, runtime="r", repeats=repeats, clock=clock)
    assert clock.called == []


def test_loading_is_the_median_of_its_times_and_decoding_is_of_taut_files(tmp_path) -> None:
    clock, out = Clock(), tmp_path / "a.taut.safetensors"
    assert time_load(None, clock.run("load", 9.0, 1.0, 2.0), clock=clock) == (2.0, None)
    taut.compress({"w": np.ones((8, 8), np.float32)}, out)
    loaded, decoded = time_load(out)
    assert loaded is None and isinstance(decoded, float)
    (tmp_path / "other.safetensors").write_bytes(b"not a file of ours")
    with pytest.raises(TautError, match=r"other\.safetensors"):
        time_load(tmp_path / "other.safetensors")
