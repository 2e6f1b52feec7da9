"""The most memory that was held while something worked, without pages of mapped files."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from taut.machine.memory_watch import MemoryWatch
from taut.machine.peak_memory import held_memory

LARGE = 100_000_000


def test_what_was_held_for_a_while_is_seen() -> None:
    with MemoryWatch() as watch:
        before = watch.peak
        held = np.ones(LARGE, np.uint8)
        deadline = time.monotonic() + 20
        while watch._peak < before + LARGE // 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        del held
        assert watch.peak > before + LARGE // 2
    assert not watch._thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all that is resident counts")
def test_pages_of_mapped_files_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGE))
    before = held_memory()
    with MemoryWatch() as watch:
        mapped = np.memmap(path, np.uint8, "r")
        assert int(mapped.sum()) == 0
        assert watch.peak < before + LARGE // 2
