"""`taut bench`: what the lossless coders do to a model on this machine."""

from __future__ import annotations

import os

from taut.cli._guard import guarded
from taut.cli._options import (
    EffortOption,
    JsonOption,
    KeyOption,
    ModelArgument,
    QuietOption,
    ThreadsOption,
)
from taut.cli._streams import refusing_streams
from taut.cli._talk import Talk


@guarded
@refusing_streams()
def command(
    model: ModelArgument,
    key: KeyOption = None,
    effort: EffortOption = None,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Code and decode a model in memory; print ratio and speed.

    Lossless, with each effort, and with zstd where the package zstandard is installed.
    """
    from taut.cli._checks import check_model
    from taut.cli._report import model_text, print_json
    from taut.demo import measure_speed
    from taut.io import open_source
    from taut.networks.sources import chosen
    from taut.reporting.numbers import digits, size
    from taut.reporting.plain_text import plural, table

    talk = Talk(quiet)
    check_model(model, original=True)
    source = open_source(chosen(model, key))
    talk.line("model", model_text(source))
    with talk.progress() as step:
        report = measure_speed(
            source,
            efforts=(effort,) if effort else ("fast", "max"),
            threads=threads or os.cpu_count() or 1,
            progress=step,
        )
    if json:
        print_json(report)
        return
    rows = [
        (
            row.coder,
            size(row.size),
            digits(row.ratio),
            digits(row.encode / 1e9),
            digits(row.decode / 1e9),
        )
        for row in report.rows
    ]
    print(table(("coder", "size", "ratio", "encode GB/s", "decode GB/s"), rows))
    talk.line(
        "machine", f"{plural(report.threads, 'thread')}, warm memory, GB/s of the original's bytes"
    )
