"""`taut info`: what is in a file, tensor by tensor."""

from __future__ import annotations

from taut.cli._guard import guarded
from taut.cli._options import FileArgument, JsonOption, QuietOption
from taut.cli._streams import streaming


@guarded
@streaming
def command(
    file: FileArgument,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Show every tensor's scheme, bytes and error, and the totals."""
    import taut
    from taut.cli._report import print_json, tensor_table, totals_text

    found = taut.info(file)
    if json:
        print_json(found)
        return
    if not quiet:
        print(tensor_table(found))
        print()
    print(totals_text(found))
