"""The options that commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Effort = Literal["fast", "max"]

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A .safetensors file, a sharded index, a Hugging Face folder, a .pt/.bin file, or "
        "an .onnx model.",
        show_default=False,
    ),
]
FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A Taut file or folder.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="PATH", help="Where to write; by default, beside the input."
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Of a training's checkpoint: the part that is the model, as model or ema.module; by "
        "default the usual one. '*': all that is in it.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse shards that hold less or more than their index lists.",
        show_default=False,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Share the work among a Ray cluster: auto (the one of this machine), HOST:PORT, or "
        "local (one made for this run). The bytes are the same.",
    ),
]
BaseOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="What a delta stands on; by default, what lies beside it under the name it had. Once "
        "more for the base of a base that is a delta itself.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("-f", "--force", help="Overwrite what exists.", show_default=False)
]
QuietOption = Annotated[
    bool, typer.Option("-q", "--quiet", help="Say nothing but errors.", show_default=False)
]
VerboseOption = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say more.", show_default=False)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.", show_default=False)
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("-T", "--threads", min=1, metavar="N", help="Threads; by default, every core."),
]
EffortOption = Annotated[
    Effort | None,
    typer.Option(help="How hard to look for bytes; by default fast if lossless, max if lossy."),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the plan, the estimated size and the peak memory; write nothing.",
        show_default=False,
    ),
]
