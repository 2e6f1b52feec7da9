"""Help is complete, and imports nothing heavy: that is what makes it quick."""

import subprocess
import sys

import pytest

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
    "bench",
    "demo",
)
START = "from taut.cli import main; main()"


def test_help_names_every_command_and_the_exit_codes(run):
    help_text = run("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command}  " in help_text
    assert "3 target not reached" in help_text


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
