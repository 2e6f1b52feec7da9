"""Help is complete, fits the terminal, and imports nothing heavy: that is what makes it quick."""

import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from taut.cli._examples import EXAMPLES
from taut.cli._help import WIDTH
from taut.cli.app import app

COMMANDS = (
    "analyze",
    "plan",
    "compress",
    "decompress",
    "info",
    "verify",
    "eval",
    "frontier",
    "report",
    "export",
    "push",
    "doctor",
    "bench",
    "demo",
)
START = "from taut.cli import main; main()"


def test_help_has_every_command_on_one_line_and_the_exit_codes(run):
    lines = run("--help").stdout.splitlines()
    for name, command in get_command(app).commands.items():
        assert [line for line in lines if line.split()[:1] == [name]] == [
            f"  {name:<10}  {command.short_help}"
        ]
    assert {"Make a model small:", "See what it cost:", "Use it:"} <= set(lines)
    assert "3 target not reached" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_without_arguments_there_is_help_as_if_it_were_asked_for(run):
    alone, asked = run(), run("-h")
    assert alone.exit_code == 0
    assert alone.stdout == asked.stdout and "Make a model small:" in alone.stdout


@pytest.mark.parametrize("width", [80, 100, 140])
def test_help_fits_the_terminal(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for name in get_command(app).commands:
        text, _, examples = run(name, "-h").stdout.partition("\nExamples:\n")
        assert max(map(len, text.splitlines())) <= min(width, WIDTH)
        assert examples == "".join(f"  {line}\n" for line in EXAMPLES[name].splitlines())


def test_usage_names_arguments_as_everybody_does(run):
    shown = {name: run(name, "-h").stdout.splitlines()[0] for name in get_command(app).commands}
    assert {name: line.partition("[OPTIONS] ")[2] for name, line in shown.items()} == {
        **dict.fromkeys(("compress", "analyze", "frontier", "bench"), "MODEL"),
        **dict.fromkeys(("info", "eval", "view", "decompress"), "FILE"),
        **dict.fromkeys(("doctor", "demo"), ""),
        **{"plan": "[MODEL]", "diff": "FIRST SECOND", "verify": "FILE...", "export": "FILE OUT"},
        **{"report": "FILE [OTHER]", "push": "FILE URL", "completion": "SHELL"},
    }
    assert not {name for name in shown if re.search(r"^  [A-Z]+ <", run(name, "-h").stdout, re.M)}


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(run, option):
    assert run(option).stdout.startswith("taut ")


def test_python_m_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "taut", "-V"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("taut ")


def test_every_option_is_in_a_group(run):
    for name in get_command(app).commands:
        assert "\nOptions:" not in run(name, "--help").stdout


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_examples_are_commands_that_are_understood(command):
    """Three at least, each parsed by the options that there are, and none too wide to copy."""
    shown = EXAMPLES[command].splitlines()
    assert max(map(len, shown)) <= WIDTH - 2
    commands = [line for line in shown if not line.startswith("#")]
    assert len(commands) >= 3
    for line in commands:
        text = line.partition('"$(')[2].partition(')"')[0] or line
        words = shlex.split(text.partition(" > ")[0].partition(" < ")[0], comments=True)
        words = words[[word.startswith("TMPDIR=") for word in words].count(True) :]
        assert words[:2] == ["taut", command]
        get_command(app).commands[command].make_context(command, words[2:])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_help_imports_neither_arrays_nor_bars():
    watch = (
        "import sys\ntry:\n    " + START + "\nexcept SystemExit:\n    "
        "heavy = {'numpy', 'torch', 'rich', 'pydantic', 'yaml', 'onnx', 'sklearn'}\n    "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch, "--help"], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "args", [["compres"], ["compress"], ["compress", "m", "--effort", "most"], ["info", "f", "-x"]]
)
def test_wrong_usage_exits_2_with_a_line_on_stderr(run, args):
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
