"""The `taut` command: its subcommands, in groups by what a person wants."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Final

import typer

from taut.cli import (
    analyze,
    bench,
    completion,
    compress,
    decompress,
    demo,
    diff,
    doctor,
    eval,
    export,
    frontier,
    info,
    plan,
    push,
    report,
    verify,
    view,
)
from taut.cli._examples import EXAMPLES
from taut.cli._help import WIDTH, CommandHelp, GroupHelp

# Groups of commands, each command with what it does in a line that fits 80 columns.
_COMMANDS: Final[dict[str, dict[ModuleType, str]]] = {
    "Make a model small": {
        compress: "a smaller file: bit-exact, or lossy to a size, bits or a drop",
        analyze: "what a model holds, and which tensors mind being rounded",
        plan: "propose which tensor is stored how, as YAML to change by hand",
        frontier: "many sizes, each judged: what every byte buys",
    },
    "See what it cost": {
        info: "what is in a file: scheme, bytes and error of its tensors",
        diff: "which tensors of two models differ, and how far",
        verify: "check files to the last byte",
        eval: "judge a file by a score, by data, and against the original",
        report: "one HTML page on a file",
        view: "bytes, bits and values of a file, in the browser",
    },
    "Use it": {
        decompress: "the model back, byte for byte if the file is bit-exact",
        export: "ONNX, GGUF, compressed-tensors, a Hugging Face folder",
        push: "onto the Hugging Face hub, with a card, in one commit",
    },
    "This machine": {
        doctor: "versions, processor, memory, disk, GPU, and missing extras",
        bench: "how fast the bit-exact coders are on a model here",
        demo: "a real sentence encoder made small and measured, in a minute",
        completion: "let bash, zsh or fish complete commands and options",
    },
}

# Plain help and plain tracebacks: the pretty ones import rich, which alone costs 0.1 s per start.
app = typer.Typer(
    name="taut",
    cls=GroupHelp,
    help="Make model files smaller, prove what it cost, and give the model back fast.",
    epilog="taut COMMAND --help has examples. Exit codes: 0 ok, 1 error, 2 usage, 3 target not "
    "reached, 4 verification failed.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)
for _group, _members in _COMMANDS.items():
    for _module, _line in _members.items():
        _name = _module.__name__.rpartition(".")[2]
        app.command(
            _name,
            cls=CommandHelp,
            short_help=_line,
            epilog=EXAMPLES[_name],
            rich_help_panel=_group,
        )(_module.command)


def _print_version(asked: bool) -> None:
    if asked:
        from taut.version import __version__

        print(f"taut {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            *("-V", "--version"),
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:  # help that was not asked for is help all the same
        print(ctx.get_help())
