"""`laconic decompress`: a Laconic file in, ordinary safetensors out."""

from __future__ import annotations

from laconic.cli._guard import guarded
from laconic.cli._options import (
    FileArgument,
    ForceOption,
    JsonOption,
    OutputOption,
    QuietOption,
    ThreadsOption,
)
from laconic.cli._talk import Talk


@guarded
def command(
    file: FileArgument,
    output: OutputOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Give the model back, byte for byte if the file is lossless."""
    import json as encoder
    import time

    import laconic
    from laconic.cli._paths import restored_path
    from laconic.cli._units import size

    begin = time.perf_counter()
    restored = laconic.decompress(file, output or restored_path(file), threads=threads, force=force)
    seconds = time.perf_counter() - begin
    Talk(quiet).line("wrote", f"{restored.path}    {size(restored.bytes)} in {seconds:.1f} s")
    if json:
        print(encoder.dumps({"path": str(restored.path), "size": restored.bytes}))
