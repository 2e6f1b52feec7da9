"""Where `-` is a stream, and where it is refused before the work; never a file of that name."""

import sys
from pathlib import Path

import pytest

from taut.cli import _streams
from taut.cli.app import app
from taut.errors import ArgumentError


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["analyze", "-"], "MODEL: - is a stream"),
        (["analyze", "net.safetensors", "-o", "-"], "--output: - is a stream"),
        (["plan", "-", "--size", "4x"], "MODEL: - is a stream"),
        (["eval", "-"], "MODEL: - is a stream"),
        (["eval", "net.safetensors", "--html", "-"], "--html: - is a stream"),
        (["frontier", "-"], "MODEL: - is a stream"),
        (["frontier", "net.safetensors", "-o", "-"], "--output: - is a stream"),
        (["frontier", "net.safetensors", "--csv", "-"], "--csv: - is a stream"),
        (["report", "-"], "FILE: - is a stream"),
        (["report", "net.safetensors", "-o", "-"], "--output: - is a stream"),
        (["export", "-", "out.onnx"], "FILE: - is a stream"),
        (["export", "net.safetensors", "-"], "OUT: - is a stream"),
        (["bench", "-"], "MODEL: - is a stream"),
        (["compress", "-"], "-o: a model from standard input has no name"),
        (["decompress", "-"], "-o: a model from standard input has no name"),
        (["compress", "net.safetensors", "-o", "-", "--json"], "--json: standard output is"),
        (["compress", "net.safetensors", "-o", "-", "--resume"], "--resume: goes on from"),
        (["verify", "-", "-"], "FILE: standard input can be read once"),
    ],
)
def test_a_stream_where_none_can_be(run, model, monkeypatch, arguments, told):
    monkeypatch.chdir(model.parent)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"taut: {told}")
    assert list(Path().iterdir()) == [Path(model.name)]


def test_every_command_has_a_way_with_streams():
    """A new one is decorated too, or writes a file called `-`."""
    without = {"demo", "doctor", "completion"}  # they take no file
    for command in app.registered_commands:
        found, files = command.callback, []
        while found is not None:
            files.append(found.__code__.co_filename)
            found = getattr(found, "__wrapped__", None)
        assert command.name in without or _streams.__file__ in files, command.name


def test_a_terminal_is_no_model(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(ArgumentError, match="is a terminal"), _streams._standard_input():
        pass


class Terminal:
    """A standard input that somebody types at."""

    closed = False

    def isatty(self) -> bool:
        return True


def test_plan_writes_to_stdout_where_it_does_anyway(run, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    told = run("plan", model, "--size", "4x", "-q")
    same = run("plan", model, "--size", "4x", "-q", "-o", "-")
    assert told.stdout == same.stdout != ""
    assert list(Path().iterdir()) == [Path(model.name)]


def test_a_dry_run_of_a_stream_writes_nothing(run, model):
    result = run("compress", model, "-o", "-", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize("command", ["compress", "verify", "info", "decompress", "analyze"])
def test_a_pattern_that_no_shell_expanded_is_told_of(run, model, command):
    result = run(command, model.with_name("*.safetensors"))
    assert result.exit_code == 2 or command == "verify"
    assert result.exit_code != 0
    assert "as a pattern, which the shell did not expand, it is net.safetensors" in result.stderr
    result = run(command, model.with_name("no*"))
    assert "as a pattern it matches nothing" in result.stderr
