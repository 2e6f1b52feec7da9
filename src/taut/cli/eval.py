"""`taut eval`: what a file is worth, and what it lost against the original."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import EvalOption, SeedOption, score_named
from taut.cli._options import ForceOption, JsonOption, KeyOption, QuietOption, ThreadsOption
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk

if TYPE_CHECKING:
    import torch


@guarded
@refusing_streams()
def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A Taut file or folder, .safetensors, .onnx, .gguf, a model folder or "
            "file.py:function.",
            show_default=False,
        ),
    ],
    original: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="The original: a model folder, a .gguf file or file.py:function."
        ),
    ] = None,
    score: EvalOption = None,
    calib: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="What the models are run on: texts, tokens, arrays, or file.py:function.",
        ),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Latency and throughput.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Resident and peak bytes.")] = False,
    energy: Annotated[bool, typer.Option("--energy", help="Joules of a call.")] = False,
    watts: Annotated[
        float | None,
        typer.Option(metavar="W", help="What a busy core draws, for an estimate of energy."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All three.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report as one HTML page.")
    ] = None,
    key: KeyOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Judge a file by --score, by --calib, and against the original.

    Scores have 95 % intervals where the score gives labels and logits, and both models are
    compared sample by sample.
    """
    import taut
    from taut.cli._checks import check_data
    from taut.cli._kept import saying_what_is_kept
    from taut.cli._kinds import INDEX, check_kind
    from taut.cli._report import print_json
    from taut.cli._scores import evaluation_text

    if html is not None:
        _check_page(html, force)
    check_data("--calib", calib)
    for option, value in (("FILE", model), ("--original", original)):
        check_kind(option, value, INDEX)
    talk = Talk(quiet)
    with saying_what_is_kept(talk), talk.progress() as step:
        found = taut.evaluate(
            model,
            score_named(score),
            original=original,
            calib=calib,
            speed=speed or everything,
            memory=memory or everything,
            energy=energy or everything,
            seed=seed or 0,
            threads=threads,
            watts=watts,
            key=key,
            progress=step,
        )
    if html is not None:
        from taut.cli._signed import signed
        from taut.evaluation.contenders import is_taut
        from taut.io.staged import told_name
        from taut.reporting.page import write_page
        from taut.reporting.story import Story
        from taut.reporting.tell import Evidence, tell

        story = Story(title=told_name(Path(model)), evaluation=found)
        if is_taut(Path(model)):
            evidence = Evidence(evaluation=found)
            story = tell(model, evidence, original=_original(Path(model), original))
        write_page(html, signed(story, score=score), force=force)
        talk.line("wrote", str(html))
    if json:
        print_json(found)
    else:
        print(evaluation_text(found))


def _original(file: Path, original: str | None) -> Path | torch.nn.Module | None:
    """What the page takes values of before from; None if its tensors have other names."""
    from taut.container import open_taut
    from taut.io import open_source
    from taut.networks import open_model
    from taut.networks.callables import names_callable

    if original is None:
        return None
    found = open_model(original).source if names_callable(original) else Path(original)
    held = open_taut(file)
    return found if any(info.name in held for info in open_source(found).infos) else None


def _check_page(page: Path, force: bool) -> None:
    from taut.container import check_destination
    from taut.errors import ArgumentError

    check_destination(page, force=force)
    for package in ("matplotlib", "jinja2"):
        if find_spec(package) is None:
            raise ArgumentError(f"--html takes {package}: pip install 'taut[report]'")
