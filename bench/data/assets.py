"""Where the bench finds data that no package carries: $TAUT_ASSETS, or beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(__file__).parents[3] / "shared" / "assets"


def asset(path: str) -> Path:
    """Find a file of the bench's data: under $TAUT_ASSETS, or beside the checkout."""
    found = Path(os.environ.get("TAUT_ASSETS", BESIDE)) / path
    if not found.exists():
        raise RuntimeError(f"{path}: not under $TAUT_ASSETS")
    return found
