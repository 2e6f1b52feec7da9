"""A piece of work in a process of its own: its CPU time, and the most memory that it had."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.02  # seconds between two looks at the process
_FIELDS = ("RssAnon:", "RssFile:")


@dataclass(frozen=True)
class Observed:
    """`anonymous` and `mapped` are peaks in bytes, `cpu` is in seconds, `said` the work's own."""

    anonymous: int
    mapped: int
    cpu: float
    said: Mapping[str, float]


def observe(module: str, *arguments: str) -> Observed:
    """Run `python -m module arguments`, whose last line on stdout is a JSON object.

    The object has `cpu`, and what else is to be told. Pages that a file stands behind, as weights
    and forms have them, can be dropped at any time: they are counted apart.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peaks = dict.fromkeys(_FIELDS, 0)
        while process.poll() is None:
            for field, value in _memory(process.pid).items():
                peaks[field] = max(peaks[field], value)
            time.sleep(_EVERY)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    said = json.loads(lines[-1])
    return Observed(peaks["RssAnon:"], peaks["RssFile:"], said.pop("cpu"), said)


def _memory(process: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return {}
    parts = [line.split() for line in lines]
    return {one[0]: int(one[1]) * 1024 for one in parts if one and one[0] in _FIELDS}
