"""Talk goes to stderr, a line a stage when it is no terminal, and is silent when asked to be."""

import sys

from taut.cli._talk import Talk


def test_lines_are_aligned_and_on_stderr(capsys):
    Talk().line("model", "98 tensors")
    Talk().line("plan", "lossless")
    assert capsys.readouterr() == ("", "  model      98 tensors\n  plan       lossless\n")


def test_a_finished_stage_is_one_line_off_a_terminal(capsys):
    with Talk().progress(hide=("verify",)) as step:
        for done in range(4):
            step("encode", done, 3)
        step("encode", 3, 3)
        step("verify", 3, 3)
    assert capsys.readouterr() == ("", "  encode     3/3  0:00:00\n")


def test_a_long_stage_says_once_a_minute_how_long_it_has_to_go(capsys, monkeypatch):
    with Talk().progress(hide=("verify",)) as step:
        for done in range(11):  # 25 seconds a step
            monkeypatch.setattr("time.monotonic", lambda done=done: 1000.0 + 25 * done)
            step("encode", done, 10)
            step("verify", done, 11)
    assert capsys.readouterr().err == (
        "  encode     3/10  0:01:15, about 0:02:55 left\n"
        "  encode     6/10  0:02:30, about 0:01:40 left\n"
        "  encode     9/10  0:03:45, about 0:00:25 left\n"
        "  encode     10/10  0:04:10\n"
    )


def test_what_was_resumed_took_no_time_and_tells_nothing_of_the_rest(capsys, monkeypatch):
    with Talk().progress() as step:
        for now, done in ((0.0, 90), (60.0, 90), (61.0, 95)):
            monkeypatch.setattr("time.monotonic", lambda now=now: now)
            step("round", done, 100)
    assert capsys.readouterr().err == "  round      95/100  0:01:01, about 0:01:01 left\n"


def test_quiet_says_nothing_and_asks_for_no_progress(capsys):
    talk = Talk(quiet=True)
    talk.line("model", "98 tensors")
    with talk.progress() as step:
        assert step is None
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_are_bars(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Talk().progress() as step:
        step("encode", 1, 2)
        step("encode", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encode" in err and "2/2" in err


def test_bars_know_the_time_left_of_steps_that_last_minutes(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Talk().progress() as step:
        for done in range(5):
            now = 1000.0 + 100 * done
            step("encode", done, 10)
    assert "0:10:00" in capsys.readouterr().err


def test_what_is_told_of_a_stage_is_told_where_the_stage_is(capsys, monkeypatch):
    with Talk().progress() as step:
        for done in range(6):  # 25 seconds a step
            monkeypatch.setattr("time.monotonic", lambda done=done: 1000.0 + 25 * done)
            step(f"train loss {1 / (done + 1):.2f}, {90 - done} kB", done, 5)
    assert capsys.readouterr().err == (
        "  train      3/5  0:01:15, about 0:00:50 left    loss 0.25, 87 kB\n"
        "  train      5/5  0:02:05    loss 0.17, 85 kB\n"
    )


def test_a_bar_tells_it_too(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with Talk().progress() as step:
        step("train loss 0.50", 1, 2)
        step("train loss 0.25", 2, 2)
    err = capsys.readouterr().err
    assert "loss 0.25" in err and "2/2" in err
    assert err.count("train") == err.count("2/2") + err.count("1/2") + err.count("0/2")
