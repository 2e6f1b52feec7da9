"""Finished points on disk: taken over whole, or refused."""

import json

import pytest

from taut.errors import ArgumentError
from taut.scoring.results import Metric
from taut.sweep.pareto import Missed, Point
from taut.sweep.saved import Points, check_journal

IDENTITY = {"model": "5d41", "score": "none"}
METRICS = (Metric("accuracy", 0.9, 0.88, 0.92), Metric("nll", 2.0, better="lower"))
POINT = Point("3 bits", "dial", 100, 3.0, 10.0, METRICS, 0.01, 3.0, 1.5, ("a note",))
MISSED = Missed("0.1 bits", "too few")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "frontier.jsonl"
    with Points(path, IDENTITY, resume=False) as points:
        points.put(POINT)
        points.put(MISSED)
    return path


def test_points_come_back_equal(path):
    with Points(path, IDENTITY, resume=True) as points:
        assert points.get("3 bits") == POINT
        assert points.get("0.1 bits") == MISSED
        assert points.get("4 bits") is None


def test_without_resume_an_earlier_sweep_is_forgotten(path):
    with Points(path, IDENTITY, resume=False) as points:
        assert points.get("3 bits") is None
    assert len(path.read_text().splitlines()) == 1


def test_a_torn_line_is_dropped_and_the_next_one_whole(path):
    text = path.read_bytes()
    path.write_bytes(text[:-9])
    with Points(path, IDENTITY, resume=True) as points:
        assert points.get("3 bits") == POINT
        assert points.get("0.1 bits") is None
        points.put(MISSED)
    assert path.read_bytes() == text


def test_points_of_other_work_are_refused_and_named(path):
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="was begun with another model, seed; give -f"):
        Points(path, {"model": "beef", "score": "none", "seed": "1"}, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", '{"taut frontier": 2}\n', "name,size\n"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, text):
    path = tmp_path / "frontier.jsonl"
    path.write_text(text)
    for force in (False, True):
        with pytest.raises(ArgumentError, match="is in the place of the points"):
            check_journal(path, resume=not force, force=force)
    with pytest.raises(ArgumentError, match="is in the place of the points"):
        Points(path, IDENTITY, resume=True)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": []},
        {"metrics": [1]},
        {"metrics": [{"name": "accuracy"}]},
        {"colour": "red"},
        {"name": None, "metrics": None},
    ],
)
def test_a_damaged_point_is_told(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["point"] |= change
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(ArgumentError, match="is damaged"):
        Points(path, IDENTITY, resume=True)


def test_one_sweep_at_a_time(path):
    with Points(path, IDENTITY, resume=True), pytest.raises(ArgumentError):
        Points(path, IDENTITY, resume=True)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_points_are_in_memory_alone_without_a_path():
    with Points(None, {}, resume=False) as points:
        points.put(POINT)
        assert points.get("3 bits") is POINT
        points.discard()


def test_what_is_done_may_be_discarded(path):
    with Points(path, IDENTITY, resume=True) as points:
        points.discard()
    assert not path.exists()


def test_earlier_points_want_a_word(path, tmp_path):
    with pytest.raises(ArgumentError, match=r"--resume .* to go on from them, or -f"):
        check_journal(path, resume=False, force=False)
    check_journal(path, resume=True, force=False)
    check_journal(path, resume=False, force=True)
    check_journal(tmp_path / "other.jsonl", resume=False, force=False)
    with pytest.raises(ArgumentError, match="does not exist"):
        check_journal(tmp_path / "no" / "other.jsonl", resume=False, force=False)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(ArgumentError, match="no plain file"):
        check_journal(link, resume=True, force=False)
