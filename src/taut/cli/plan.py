"""`taut plan`: a model and a target in, a plan as YAML out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import CalibOption, LossOption, SeedOption, loss_named
from taut.cli._options import (
    EffortOption,
    ForceOption,
    JsonOption,
    KeyOption,
    QuietOption,
    StrictOption,
    ThreadsOption,
)
from taut.cli._streams import STREAM, refusing_streams
from taut.cli._talk import Talk

if TYPE_CHECKING:
    from taut.planning import Plan
    from taut.verbs.plan import Proposal


@guarded
@refusing_streams(but=("output",))
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A .safetensors file, a sharded index, a Hugging Face folder, a .pt/.bin file, an "
            ".onnx, or file.py:function that gives a module. With --calib, a folder, an .onnx or "
            "file.py:function.",
            show_default=False,
        ),
    ] = None,
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
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instead of a model: a preset, to be changed by hand."),
    ] = None,
    presets: Annotated[
        bool,
        typer.Option("--presets", help="Instead: what all presets do.", show_default=False),
    ] = False,
    calib: CalibOption = None,
    loss: LossOption = None,
    effort: EffortOption = None,
    key: KeyOption = None,
    strict: StrictOption = False,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Propose which tensor is to be stored how, for --size, --bits or --max-drop.

    The plan is YAML, to be read, changed by hand, and carried out by compress --plan. A plan can
    also begin from a preset: plan --preset edge -o plan.yaml.
    """
    from taut.cli._checks import check_asked, check_data, check_model
    from taut.cli._presets import check_alone, show_presets
    from taut.container import check_destination
    from taut.errors import ArgumentError

    output = None if output == Path(STREAM) else output  # stdout is where it goes anyway
    asked = {"--size": size, "--bits": bits, "--max-drop": max_drop, "--calib": calib}
    asked |= {"--loss": loss, "--effort": effort, "--seed": seed}
    if presets:
        check_alone("--presets", {"a model": model, "--preset": preset, "-o": output, **asked})
        show_presets(json)
        return
    if output is not None:
        check_destination(output, force=force)
    talk = Talk(quiet)
    if preset is not None:
        check_alone("--preset", {"a model": model, **asked})
        _write_preset(preset, output, talk, force, json)
        return
    if model is None:
        raise ArgumentError("plan: name a model, or --preset NAME, or --presets to see them")
    check_asked(bits, size, max_drop)
    check_data("--calib", calib)
    check_model(model, runs=calib is not None)
    from taut.reporting.plain_text import plural
    from taut.verbs.plan import propose

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
            key=key,
            strict=strict,
            progress=step,
        )
    _say_estimate(talk, proposal)
    if output is not None:
        _write(output, proposal.text(), force)
        talk.line("wrote", f"{output}    {plural(len(proposal.plan.rules), 'rule')}")
    if json:
        _print(proposal, output)
    elif output is None:
        print(proposal.text(), end="")


def _say_estimate(talk: Talk, proposal: Proposal) -> None:
    from taut.reporting.numbers import digits, size

    if (foreseen := proposal.forecast) is not None:
        before = proposal.report.bytes
        ratio = digits(before / max(1, foreseen.nbytes))
        talk.line("estimate", f"{size(before)} -> {size(foreseen.nbytes)} ({ratio}x)")


def _write_preset(name: str, output: Path | None, talk: Talk, force: bool, as_json: bool) -> None:
    """A preset with its comments on stdout, or where it can be changed by hand."""
    import json

    from taut.planning import preset_text
    from taut.planning.plan import read_plan

    text = preset_text(name)
    if output is not None:
        _write(output, text, force)
        talk.line("wrote", f"{output}    for compress --plan {output}")
    if as_json:
        tree = {"path": None if output is None else str(output), "plan": _values(read_plan(text))}
        print(json.dumps(tree, indent=2))
    elif output is None:
        print(text, end="")


def _drop(text: str | None) -> str | float | None:
    """A number as such; a percentage, and what is neither, as text for the plan to judge."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _write(path: Path, text: str, force: bool) -> None:
    from taut.container import AtomicFile

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
        "plan": _values(proposal.plan),
    }
    print(json.dumps(tree, indent=2))


def _values(plan: Plan) -> dict[str, object]:
    return plan.model_dump(mode="json", exclude_none=True)
