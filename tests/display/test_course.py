"""When work will be done is told from the pieces done and from what stages cost."""

import sys

import pytest

from taut.cli._talk import Talk
from taut.display import Course
from taut.progress import expect_stages, report_bytes


def test_the_present_stage_goes_on_as_it_went():
    course = Course()
    course.step("encode", 0, 10, 100.0)
    assert course.left(100.0) is None
    course.step("encode", 2, 10, 120.0)
    assert course.left(120.0) == pytest.approx(80.0)
    assert course.left(125.0) == pytest.approx(75.0)  # it counts down between pieces
    course.step("encode", 10, 10, 190.0)
    assert course.left(190.0) is None  # whatever goes on now, nobody foretold it
    course.step("write", 0, 4, 190.0)
    course.step("write", 1, 4, 191.0)
    assert course.left(199.0) is None  # it takes longer than its pieces did: no "0:00:00 left"


def test_stages_to_come_cost_what_they_do_against_those_that_are_known():
    course = Course({"curvature": 1.0, "blocks": 3.0, "encode": 0.5})
    course.step("curvature", 0, 4, 0.0)
    course.step("curvature", 2, 4, 20.0)  # 40 s in all, so a unit is 40 s
    assert course.left(20.0) == pytest.approx(20 + 120 + 20)
    course.step("curvature", 4, 4, 40.0)
    course.step("blocks", 0, 30, 40.0)
    assert course.left(40.0) == pytest.approx(120 + 20)
    course.step("blocks", 10, 30, 140.0)  # 300 s in all: slower than foretold, so is the rest
    assert course.left(140.0) == pytest.approx(200 + 0.5 * 340 / 4)


def test_what_was_resumed_took_no_time():
    course = Course({"blocks": 1.0, "encode": 1.0})
    course.step("blocks", 20, 30, 0.0)
    assert course.left(0.0) is None
    course.step("blocks", 21, 30, 10.0)
    assert course.left(10.0) == pytest.approx(90 + 100)


def test_a_stage_that_never_comes_is_not_waited_for():
    course = Course({"curvature": 1.0, "lambda": 5.0, "encode": 1.0})
    course.step("curvature", 0, 1, 0.0)
    course.step("curvature", 1, 1, 10.0)
    assert course.left(10.0) == pytest.approx(60.0)
    course.step("encode", 0, 2, 10.0)
    course.step("encode", 1, 2, 15.0)
    assert course.left(15.0) == pytest.approx(5.0)


def test_the_first_of_many_stages_tells_no_time_that_nothing_is_known_of():
    course = Course({"curvature": 1.0})
    assert course.left(0.0) is None
    course.step("read", 1, 2, 0.0)
    course.step("read", 2, 2, 3.0)
    assert course.left(3.0) is None  # reading says nothing of curvature


def test_lines_tell_of_the_whole_and_of_bytes(capsys, monkeypatch):
    with Talk().progress() as step:
        expect_stages(step, {"blocks": 2.0, "encode": 1.0})
        report_bytes(step, 1_200_000, 3_000_000)
        for now, done in ((0.0, 0), (60.0, 1), (120.0, 2)):
            monkeypatch.setattr("time.monotonic", lambda now=now: now)
            step("blocks", done, 10)
    assert capsys.readouterr().err == (
        "  blocks     1/10  0:01:00, about 0:09:00 left, 0:14:00 in all; 1.20 MB of 3.00 MB\n"
        "  blocks     2/10  0:02:00, about 0:08:00 left, 0:13:00 in all; 1.20 MB of 3.00 MB\n"
    )


@pytest.mark.parametrize("tty", [False, True])
def test_verbose_has_a_line_for_every_block(capsys, monkeypatch, tty):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    with Talk(verbose=True).progress() as step:
        for done in range(4):
            monkeypatch.setattr("time.monotonic", lambda done=done: 10.0 * done)
            step("blocks", done, 4)
    err = capsys.readouterr().err
    for line in ("1/4  0:00:10, about 0:00:30", "2/4  0:00:20, about 0:00:20", "3/4  0:00:30"):
        assert f"  blocks     {line}" in err


def test_verbose_tells_of_thousands_of_steps_now_and_then(capsys, monkeypatch):
    with Talk(verbose=True).progress() as step:
        for done in range(31):
            monkeypatch.setattr("time.monotonic", lambda done=done: 1.0 * done)
            step("finish", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["10/1000", "20/1000", "30/1000"]


def test_the_first_bar_is_there_before_any_stage(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with Talk().progress() as step:
        assert "work" in capsys.readouterr().err
        step("encode of [/a] and [b]", 1, 2)
    err = capsys.readouterr().err
    assert "encode" in err and "of [/a] and [b]" in err


def test_a_score_is_a_line_with_the_size_that_it_is_of(capsys):
    with Talk().progress() as step:
        step.original = 7_320_000
        report_bytes(step, 1_200_000)
        step("score 0.8296", 3, 12)
        step("score 0.83", 4, 12)
    assert capsys.readouterr().err == (
        "  score      0.8296 at 1.20 MB (6.10x), try 3 of at most 12\n"
        "  score      0.83, try 4 of at most 12\n"
    )


def test_a_plain_function_is_told_nothing_more():
    def told(stage, done, total):
        raise AssertionError

    expect_stages(told, {"blocks": 1.0})
    report_bytes(told, 1)
    expect_stages(None, {})
