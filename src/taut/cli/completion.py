"""`taut completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from taut.cli._guard import guarded
from taut.cli._shells import ASKED, SCRIPTS


@guarded
def command(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"],
        typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.", show_default=False),
    ],
) -> None:
    """Print the script that lets a shell complete commands, options and file names."""
    if shell in SCRIPTS:
        print(SCRIPTS[shell], end="")
        return
    from importlib import import_module

    shells = import_module("typer.completion")  # which lists nothing of it for import
    print(shells.get_completion_script(prog_name="taut", complete_var=ASKED, shell=shell))


def answer_shells() -> None:
    """Make ready for a shell that asks for completions; costs nothing where none does."""
    if ASKED in os.environ:
        from importlib import import_module

        import_module("typer.completion").completion_init()
