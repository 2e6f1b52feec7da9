"""`laconic compress`: a model in, one smaller verified file (or folder) out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from laconic.cli._guard import guarded
from laconic.cli._options import (
    DryRunOption,
    EffortOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    OutputOption,
    QuietOption,
    ThreadsOption,
    VerboseOption,
)
from laconic.cli._talk import Talk

if TYPE_CHECKING:
    from laconic.compress import Result


@guarded
def command(
    model: ModelArgument,
    output: OutputOption = None,
    bits: Annotated[
        float | None,
        typer.Option(metavar="B", help="Lossy: bits per weight, everything in the file counted."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Lossy: the size of the file, as 8x, 4.2MB or 12%."),
    ] = None,
    effort: EffortOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Compress a model: bit-exact, or lossy to --bits or --size."""
    import laconic
    from laconic.cli._paths import compressed_path
    from laconic.cli._report import model_text, plan_text, print_json, tensor_table
    from laconic.cli._units import size as size_text
    from laconic.estimate import estimate_memory
    from laconic.io import open_source

    talk = Talk(quiet)
    source = open_source(model)
    talk.line(
        "model", f"{model_text(source)}    peak memory about {size_text(estimate_memory(source))}"
    )
    talk.line("plan", plan_text(bits, size, effort))
    with talk.progress(hide=("verify",)) as step:
        result = laconic.compress(
            model,
            output or compressed_path(model),
            bits=bits,
            size=size,
            effort=effort,
            threads=threads,
            force=force,
            dry_run=dry_run,
            progress=step,
        )
    if verbose:
        print(tensor_table(result), file=sys.stderr)
    (_say_estimate if dry_run else _say_done)(talk, result)
    if json:
        print_json(result)


def _say_estimate(talk: Talk, result: Result) -> None:
    from laconic.cli._units import significant, size

    talk.line(
        "estimate",
        f"{size(result.original_size)} -> {size(result.size)} ({significant(result.ratio)}x, "
        f"{significant(result.bits)} bits per weight)",
    )
    talk.line("memory", f"peak about {size(result.peak_memory)}")
    talk.line("dry run", "nothing written")


def _say_done(talk: Talk, result: Result) -> None:
    from laconic.cli._units import significant, size

    tensors = len(result.tensors)
    exact = sum(not tensor.rel_mse for tensor in result.tensors)
    same = "identical to the original" if exact == tensors else f"as encoded, {exact} bit-exact"
    talk.line("verify", f"decoded, {tensors}/{tensors} tensors {same}")
    talk.line(
        "size",
        f"{size(result.original_size)} -> {size(result.size)} ({significant(result.ratio)}x)    "
        f"wrote {result.path}    {result.seconds:.1f} s, peak memory {size(result.peak_memory)}",
    )
