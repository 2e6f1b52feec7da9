"""What was measured, on what and how: JSON for machines, a Markdown table for people."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"
Row = Mapping[str, object]

_FLAGS = ("avx2", "avx512f", "avx512bw", "avx512vbmi", "gfni", "asimd", "sve")
_PACKAGES = ("taut", "numpy", "zstandard", "pcodec", "zipnn", "torch")


def machine() -> dict[str, object]:
    """Return the processor, its vector units, cores, huge-page policy, system and versions."""
    model, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "processor": model,
        "vector": [f for f in _FLAGS if f in flags.split()],
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],  # above the cores: wall times are not to be trusted
        "huge_pages": thp.read_text().strip() if thp.exists() else "unknown",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {p: v for p in _PACKAGES if (v := _version(p))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command() -> str:
    """Return the command line that made this run, without the machine's own paths."""
    spec = sys.modules["__main__"].__spec__
    script = spec.name if spec else Path(sys.argv[0]).name
    told = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]
    return shlex.join(["python", "-m", script, *told])


def save(name: str, rows: Sequence[Row], **about: object) -> Path:
    """Write `bench/results/NAME.json` and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    body = {"command": command(), "machine": machine(), **about, "rows": list(rows)}
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path


def table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Return a Markdown table; `columns` maps a row's key to the column's title."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}"
    return str(value)


def footer() -> str:
    """Return the two lines that belong under every table: machine and command."""
    about = machine()
    vector = ", ".join(about["vector"]) if isinstance(about["vector"], list) else ""
    return (
        f"Machine: {about['processor']}, {about['cores']} cores, {vector or 'no vector unit'}; "
        f"huge pages {about['huge_pages']}\nCommand: `{command()}`"
    )


def say(text: str) -> None:
    """Talk to the person who waits: stderr, so that stdout stays data."""
    print(text, file=sys.stderr, flush=True)
