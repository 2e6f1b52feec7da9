"""Pieces of work on threads of this process, in any order and with what they raise."""

import threading
import time

import pytest

from taut.errors import ArgumentError
from taut.machine.workers import LocalWorkers, each, open_workers


def test_each_is_done_and_named() -> None:
    found = dict(each(LocalWorkers(3), lambda n: n * n, range(20)))
    assert found == {n: n * n for n in range(20)}


def test_as_many_at_a_time_as_there_are() -> None:
    together = threading.Barrier(3, timeout=20)

    def waits(_: int) -> int:
        return together.wait()

    assert sorted(done for _, done in each(LocalWorkers(3), waits, range(3))) == [0, 1, 2]


def test_they_come_in_the_order_in_which_they_are_done() -> None:
    done = each(LocalWorkers(1), lambda n: n, range(100))
    first = next(done)
    time.sleep(0.1)  # now many are done at once
    assert [first, *done] == [(n, n) for n in range(100)]


def test_what_a_piece_raises_ends_the_rest() -> None:
    begun = []

    def fails(n: int) -> None:
        begun.append(n)
        time.sleep(0.2 * n)  # however late what asks is, it is not so late as all of these take
        raise ArgumentError(f"piece {n}")

    with pytest.raises(ArgumentError, match="piece 0"):
        list(each(LocalWorkers(1), fails, range(50)))
    assert len(begun) < 50


def test_no_cluster_is_asked_for_unless_named() -> None:
    with open_workers(None, 4) as workers:
        assert (workers.width, workers.elsewhere) == (4, False)
        assert workers.run(divmod, 7, 2) == (3, 1)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ArgumentError, match=r"--ray takes ray: pip install 'taut\[ray\]'"):
        open_workers("auto", 1)
