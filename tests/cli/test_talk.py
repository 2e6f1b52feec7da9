"""Talk goes to stderr, a line a stage when it is no terminal, and is silent when asked to be."""

import sys

from laconic.cli._talk import Talk


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
