"""`taut doctor`: what this machine and this installation can do."""

from __future__ import annotations

from taut.cli._guard import guarded
from taut.cli._options import JsonOption


@guarded
def command(json: JsonOption = False) -> None:
    """Show versions, processor, memory, disk, GPU, and which extras are installed.

    Every extra that is missing is named with what it is for and how to install it.
    """
    from taut.cli._machine import examined, machine_text

    found = examined()
    if json:
        import json as encoder

        print(encoder.dumps(found, indent=2))
    else:
        print(machine_text(found))
