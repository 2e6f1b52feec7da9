"""`taut decompress`: a Taut file in, ordinary safetensors, or ONNX, out."""

from __future__ import annotations

from taut.cli._guard import guarded
from taut.cli._options import (
    BaseOption,
    FileArgument,
    ForceOption,
    JsonOption,
    OutputOption,
    QuietOption,
    ThreadsOption,
)
from taut.cli._streams import is_standard_output, shown, streaming
from taut.cli._talk import Talk


@guarded
@streaming
def command(
    file: FileArgument,
    output: OutputOption = None,
    base: BaseOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Give the model back, byte for byte if the file is lossless."""
    import json as encoder
    import time

    import taut
    from taut.cli._checks import check_new
    from taut.cli._kinds import INDEX, check_kind
    from taut.container.default_names import restored_path
    from taut.loading.restore import form_of
    from taut.reporting.numbers import size

    begin = time.perf_counter()
    check_kind("FILE", file, INDEX)
    suffix, several = form_of(file)
    if output is not None and is_standard_output(output):
        output = output.with_suffix(suffix)
    target = output or restored_path(file, suffix="" if several else suffix)
    if not is_standard_output(target):
        check_new(target, force=force)
    with Talk(quiet).progress(("decode",)) as step:
        restored = taut.decompress(
            file, target, threads=threads, force=force, base=base or None, progress=step
        )
    seconds = time.perf_counter() - begin
    for note in restored.notes:
        Talk(quiet).line("note", note)
    Talk(quiet).line(
        "wrote", f"{shown(restored.path)}    {size(restored.bytes)} in {seconds:.1f} s"
    )
    if json:
        print(encoder.dumps({"path": str(restored.path), "size": restored.bytes}))
