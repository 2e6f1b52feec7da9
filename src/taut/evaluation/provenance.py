"""Under what circumstances an evaluation was made."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from taut.evaluation.contenders import Contender
from taut.machine import checked_threads
from taut.networks import Calibration


def provenance(
    sides: Sequence[Contender], seed: int, threads: int | None, data: Calibration | None
) -> dict[str, str]:
    """What the numbers hang on: versions, the machine, and the identities of models and data."""
    import torch

    from taut.version import __version__

    found = {
        "taut": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cpu": _processor(),
        "cores": str(checked_threads(None)),
        "threads": str(threads or torch.get_num_threads()),
        "seed": str(seed),
    }
    for word, side in zip(("model", "original"), sides, strict=False):
        found |= {word: side.name, f"{word}_xxh3": side.digest}
    return (
        found if data is None else {**found, "data": Path(data.name).name, "data_xxh3": data.digest}
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
