"""Every expected failure becomes one line on stderr and the exit code that the help promises."""

import errno
import json
import signal

import pytest
import typer

from taut.cli._guard import guarded
from taut.errors import ArgumentError, FormatError, TargetError, TautError, VerifyError

FAILURES = [
    (TautError("no room"), 1, "no room"),
    (FormatError("net: header cut short"), 1, "net: header cut short"),
    (ArgumentError("no such model"), 2, "no such model"),
    (TargetError("best was 3x", best=None), 3, "best was 3x"),
    (VerifyError("w, chunk 2: bad", tensor="w", chunk=2), 4, "w, chunk 2: bad"),
    (OSError(errno.ENOSPC, "no room left", "out"), 1, "out: no room left"),
    (MemoryError(), 1, "out of memory"),
]


def fails(error):
    @guarded
    def command(json: bool = False) -> None:
        raise error

    return command


@pytest.mark.parametrize(("error", "code", "message"), FAILURES)
def test_an_error_is_one_line_and_its_code(error, code, message, capsys):
    with pytest.raises(typer.Exit) as stop:
        fails(error)()
    assert stop.value.exit_code == code
    assert capsys.readouterr() == ("", f"taut: {message}\n")


@pytest.mark.parametrize(("error", "code", "message"), FAILURES)
def test_with_json_stdout_has_the_error_too(error, code, message, capsys):
    with pytest.raises(typer.Exit) as stop:
        fails(error)(json=True)
    assert stop.value.exit_code == code
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": message, "kind": type(error).__name__}
    assert err == f"taut: {message}\n"


def test_ctrl_c_exits_130_without_a_traceback(capsys):
    with pytest.raises(typer.Exit) as stop:
        fails(KeyboardInterrupt())()
    assert stop.value.exit_code == 130
    assert capsys.readouterr() == ("", "taut: interrupted\n")


def test_sigterm_exits_143_and_is_the_hosts_again_afterwards(capsys):
    @guarded
    def ends(*, json: bool = False) -> None:
        signal.raise_signal(signal.SIGTERM)

    inherited = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(typer.Exit) as stop:
            ends()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, inherited)
    assert stop.value.exit_code == 143
    assert capsys.readouterr() == ("", "taut: terminated\n")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
@pytest.mark.parametrize("ignored", [False, True])
def test_sighup_ends_a_command_unless_it_is_ignored(ignored, capsys):
    """As after `nohup`, which has it ignored."""
    done = []

    @guarded
    def ends(*, json: bool = False) -> None:
        signal.raise_signal(signal.SIGHUP)
        done.append("went on")

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        if ignored:
            ends()
            assert done == ["went on"]
        else:
            with pytest.raises(typer.Exit) as stop:
                ends()
            assert stop.value.exit_code == 129
            assert capsys.readouterr() == ("", "taut: its terminal is gone\n")
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_pipe_is_quiet(capsys):
    with pytest.raises(typer.Exit) as stop:
        fails(BrokenPipeError())(json=True)
    assert stop.value.exit_code == 141
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())()
