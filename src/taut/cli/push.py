"""`taut push`: a Taut file into a repository of the Hugging Face hub, with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import (
    BaseOption,
    FileArgument,
    ForceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
)
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk


@guarded
@refusing_streams()
def command(
    file: FileArgument,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The repository: hf://ORG/NAME[@BRANCH].", show_default=False
        ),
    ],
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model",
            metavar="ORG/NAME",
            help="The original's repository; by default what its card or config says.",
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The licence, as apache-2.0; by default the original's."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--score", metavar="JSON", help="What taut eval --json printed, for the card."
        ),
    ] = None,
    made_by: Annotated[
        str | None,
        typer.Option(
            "--command", metavar="TEXT", help="How it was made, for the card; else it is guessed."
        ),
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="What the commit says.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the repository.", show_default=False)
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="With --create: one that only you see.")
    ] = False,
    base: BaseOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the card, and send nothing.", show_default=False),
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Put a Taut file, or a model folder, on the Hugging Face hub, in one commit.

    It is checked first, and a card goes along: what was done, sizes and losses, how to load it,
    and the command. A token is read from HF_TOKEN, or where hf auth login keeps it.
    """
    import json as encoder

    from taut.cli._kinds import check_kind
    from taut.reporting.model_card import card_line
    from taut.reporting.numbers import size
    from taut.reporting.plain_text import plural
    from taut.verbs.push import push

    check_kind("FILE", file)
    talk = Talk(quiet)
    found = push(
        file,
        url,
        base_model=base_model,
        license=license,
        evaluation=evaluation,
        command=made_by,
        message=message,
        create=create,
        private=private,
        force=force,
        dry_run=dry_run,
        threads=threads,
        base=[str(one) for one in base] if base else None,
    )
    talk.notes(found.notes)
    for name in found.removed:
        talk.line("removed", name)
    talk.line("card", card_line(found.card.encode()))
    files = f"{plural(len(found.files), 'file')}, {size(found.size)}"
    if not dry_run:
        talk.line("pushed", f"{url}    {files}    {found.commit}")
    if json:
        print(encoder.dumps(found.to_json(), indent=2))
    elif dry_run:
        print(found.card, end="")
