"""`taut export`: a Taut file in, a model for another runtime out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._inputs import CalibOption, score_named
from taut.cli._options import FileArgument, ForceOption, JsonOption, QuietOption, ThreadsOption
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk

if TYPE_CHECKING:
    from taut.exporting.result import Export


@guarded
@refusing_streams()
def command(
    file: FileArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What to write: a file that ends in .safetensors, .onnx, .gguf, .tflite, .pte or "
            ".mlpackage, or a folder.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="safetensors, hf, onnx, gguf, compressed-tensors, litert, executorch or "
            "coreml; by default, what OUT's name says, and hf for a folder.",
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="ORIGINAL",
            help="The original: a Hugging Face folder (its config and tokenizer go along), or "
            "file.py:function that gives the module.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            help="safetensors, hf: float32, float16 or bfloat16; by default, the original's.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="onnx, gguf, compressed-tensors: float32, float16, bfloat16, int8 or int4; "
            "compressed-tensors: nvfp4 or mxfp4; litert, coreml: float32, float16 "
            "or int8; executorch: float32 or int8.",
        ),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="onnx, compressed-tensors: weights that share a scale."),
    ] = None,
    activations: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="int8: none, dynamic or static (onnx, litert, executorch); none or dynamic "
            "(compressed-tensors).",
        ),
    ] = None,
    ranges: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="onnx, static activations: minmax, percentile, mse or entropy.",
        ),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="PART",
            help="onnx: the largest error of an output, as a part of the output's range; where it "
            "is passed other ranges are tried, and the worst layers stay float. By default .1 of "
            "int8 with static activations. Others: what is beyond it is refused.",
        ),
    ] = None,
    calib: CalibOption = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="FILE:NAME",
            help="onnx, hf, litert, executorch: file.py:function that takes the model and gives "
            "its score; what was written is scored too.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Write the model in the format of another runtime, and check it before it is kept.

    What is written is read back, or run, and held against the Taut file.
    """
    import taut
    from taut.cli._checks import check_data
    from taut.cli._kinds import check_kind
    from taut.scoring.results import plain

    talk = Talk(quiet)
    check_data("--calib", calib)
    check_kind("FILE", file)
    with talk.progress() as step:
        found = taut.export(
            file,
            out,
            to=to,
            into=into,
            dtype=dtype,
            weights=weights,
            group_size=group_size,
            activations=activations,
            ranges=ranges,
            max_error=max_error,
            calib=calib,
            score=score_named(score),
            force=force,
            threads=threads,
            progress=step,
        )
    _say(talk, found)
    if json:
        import json as encoder

        print(encoder.dumps(plain(found), indent=2))


def _say(talk: Talk, found: Export) -> None:
    from taut.reporting.numbers import size
    from taut.reporting.plain_text import plural

    rounded = f", {found.rounded} rounded" if found.rounded else ""
    talk.line("tensors", f"{found.exact} with the very values of the Taut file{rounded}")
    check = found.check
    if check is not None:
        talk.line(
            "check",
            f"{check.runtime}: largest error {check.max_error:.2g}, relative squared error "
            f"{check.rel_mse:.2g}, cosine {check.cosine:.6f}",
        )
    talk.notes(found.notes)
    talk.line("wrote", f"{found.path}    {plural(len(found.files), 'file')}, {size(found.size)}")
