"""Shells complete commands and options: asked as they ask."""

import os
import shutil
import subprocess
import sys

import pytest

START = "from taut.cli import main; main()"


def asked(**variables):
    done = subprocess.run(
        [sys.executable, "-c", START],
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_a_shell_is_answered():
    words = asked(_TAUT_COMPLETE="complete_bash", COMP_WORDS="taut compress --ma", COMP_CWORD="2")
    assert words.split() == ["--max-drop"]
    fish = asked(
        _TAUT_COMPLETE="complete_fish",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_ARGS="taut verif",
    )
    assert fish.startswith("verify\t")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell_that_it_can_read(run, shell):
    script = run("completion", shell).stdout
    assert "_TAUT_COMPLETE" in script and "taut" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, check=True, text=True)


def test_another_shell_is_refused(run):
    assert run("completion", "tcsh").exit_code == 2
