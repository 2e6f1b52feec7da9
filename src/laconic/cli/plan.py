"""`laconic plan`: a model and a target in, a plan as YAML out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from laconic.cli._guard import guarded
from laconic.cli._inputs import (
    CalibOption,
    LossOption,
    RunnableArgument,
    SeedOption,
    loss_named,
)
from laconic.cli._options import (
    EffortOption,
    ForceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
)
from laconic.cli._talk import Talk

if TYPE_CHECKING:
    from laconic.planning import Proposal


@guarded
def command(
    model: RunnableArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write the plan; by default to stdout."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The size of the file: 8x, 4.2MB or 12%.")
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(metavar="B", help="Bits per weight, everything in the file counted."),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(metavar="DROP", help="What the score may lose: 0.5% of it, or 0.005 off it."),
    ] = None,
    calib: CalibOption = None,
    loss: LossOption = None,
    effort: EffortOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Propose which tensor is to be stored how, for --size, --bits or --max-drop.

    The plan is YAML, to be read, changed by hand, and carried out by compress --plan.
    """
    from laconic.cli._units import plural, significant
    from laconic.cli._units import size as size_text
    from laconic.container import check_destination
    from laconic.planning import propose

    if output is not None:
        check_destination(output, force=force)
    talk = Talk(quiet)
    with talk.progress() as step:
        proposal = propose(
            model,
            calib,
            size=size,
            bits=bits,
            max_drop=_drop(max_drop),
            loss=loss_named(loss),
            effort=effort,
            seed=seed,
            threads=threads,
            progress=step,
        )
    if (foreseen := proposal.forecast) is not None:
        before = proposal.report.bytes
        ratio = significant(before / max(1, foreseen.nbytes))
        talk.line("estimate", f"{size_text(before)} -> {size_text(foreseen.nbytes)} ({ratio}x)")
    if output is not None:
        _write(output, proposal.text(), force)
        talk.line("wrote", f"{output}    {plural(len(proposal.plan.rules), 'rule')}")
    if json:
        _print(proposal, output)
    elif output is None:
        print(proposal.text(), end="")


def _drop(text: str | None) -> str | float | None:
    """A number as such; a percentage, and what is neither, as text for the plan to judge."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _write(path: Path, text: str, force: bool) -> None:
    from laconic.container import AtomicFile

    with AtomicFile(path, force=force) as file:
        file.write(text.encode())
        file.commit()


def _print(proposal: Proposal, path: Path | None) -> None:
    import json

    foreseen = proposal.forecast
    tree = {
        "path": None if path is None else str(path),
        "size": None if foreseen is None else foreseen.nbytes,
        "bits": None if foreseen is None else dict(foreseen.bits),
        "plan": proposal.plan.model_dump(mode="json", exclude_none=True),
    }
    print(json.dumps(tree, indent=2))
