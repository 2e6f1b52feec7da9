"""`taut demo`: a real sentence encoder, smaller, decoded, and measured, in a minute."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taut.cli._guard import guarded
from taut.cli._options import ForceOption, JsonOption, QuietOption, ThreadsOption
from taut.cli._talk import Talk

if TYPE_CHECKING:
    from taut.demo import DemoReport


@guarded
def command(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Keep the files in this folder."),
    ] = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Make a real sentence encoder smaller and measure what it cost.

    MiniLM is compressed bit-exactly and to 4, 3 and 2.5 bits per weight, decoded, and its
    embeddings compared with the original's. Takes about a minute.
    """
    from tempfile import TemporaryDirectory

    from taut.cli._report import print_json
    from taut.demo import find_minilm, run_demo
    from taut.errors import ArgumentError

    if output is not None and output.exists() and not output.is_dir():
        raise ArgumentError(f"{output}: is a file; name a folder, or one that is to be made")
    find_minilm()
    talk = Talk(quiet)
    talk.line("model", "all-MiniLM-L6-v2, a sentence encoder of 22.7 M parameters in float32")
    with ExitStack() as stack:
        if output is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="taut-demo-")))
        else:
            folder = output
            folder.mkdir(parents=True, exist_ok=True)
        with talk.progress() as step:
            report = run_demo(folder, threads=threads, force=force, progress=step)
    if json:
        print_json(report)
        return
    print(_table(report))
    if not quiet:
        print(_closing(report, output))


def _table(report: DemoReport) -> str:
    from taut.reporting.numbers import digits, size
    from taut.reporting.plain_text import table

    rows = [
        (
            row.name,
            size(row.size),
            f"{digits(row.ratio)}x",
            digits(row.bits),
            f"{row.cosine:.4f}",
            f"{row.spearman:.4f}",
            f"{row.encode / 1e6:.0f} MB/s" if row.encode else "-",
            f"{row.decode / 1e6:.0f} MB/s" if row.decode else "-",
        )
        for row in report.rows
    ]
    head = ("file", "size", "ratio", "bits", "cosine", "Spearman", "encode", "decode")
    return "\n" + table(head, rows)


def _closing(report: DemoReport, folder: Path | None) -> str:
    where = f"The files are in {folder}." if folder else "Keep the files with -o FOLDER."
    return f"""
The lossless file, decompressed, is the original: sha256 {report.sha256[:16]}... on both.
Cosine: of an embedding with the original's, mean over {report.sentences} sentences.
Spearman: are all pairs of sentences still in the same order of similarity?
Encode includes writing and verifying; decode is from the file into memory.
No data was used and nothing was retrained.

{where} Next, on a model of yours:
  taut compress model.safetensors              bit-exact
  taut compress model.safetensors --size 8x    lossy, met in real bytes
  taut info model.taut.safetensors             what every tensor costs
  taut --help"""
