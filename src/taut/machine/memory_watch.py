"""The most memory that this process holds while something works, by looking again and again."""

from __future__ import annotations

import threading
from typing import Final

from taut.machine.closing import Closing
from taut.machine.peak_memory import held_memory

_EVERY: Final = 0.1  # seconds


class MemoryWatch(Closing):
    """Looks ten times a second at what no file stands behind, as a context manager.

    The system's own peak also counts pages of mapped files, which it can drop at any time; of work
    that maps more than memory has it tells nothing.
    """

    def __init__(self) -> None:
        self._peak = held_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="taut-memory", daemon=True)
        self._thread.start()

    @property
    def peak(self) -> int:
        """The most bytes that were seen so far."""
        self._peak = max(self._peak, held_memory())
        return self._peak

    def close(self) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_EVERY):
            self._peak = max(self._peak, held_memory())
