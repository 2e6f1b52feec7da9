"""The `taut` command: its subcommands, in the order of the work."""

from __future__ import annotations

from typing import Annotated

import typer

from taut.cli import (
    analyze,
    bench,
    compress,
    decompress,
    demo,
    eval,
    export,
    frontier,
    info,
    plan,
    report,
    verify,
)

# Plain help and plain tracebacks: the pretty ones import rich, which alone costs 0.1 s per start.
app = typer.Typer(
    name="taut",
    help="Make model files smaller, prove what it cost, and give the model back fast.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 target not reached, 4 verification failed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (
    analyze,
    plan,
    compress,
    decompress,
    info,
    verify,
    eval,
    frontier,
    report,
    export,
    bench,
    demo,
):
    app.command(_module.__name__.rpartition(".")[2])(_module.command)


def _print_version(asked: bool) -> None:
    if asked:
        from taut.version import __version__

        print(f"taut {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
