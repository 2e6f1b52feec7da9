"""A folder to work in, beside what is to be written."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def beside(real: Path) -> Iterator[Path]:
    """A folder beside `real`, on the same disk, that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=real.parent, prefix=f"{real.name}.") as folder:
        yield Path(folder)
