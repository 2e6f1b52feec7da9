"""How many bytes of decoded weights may be kept from one pass to the next."""

from __future__ import annotations

import threading


class KeptBytes:
    """`nbytes` in all, of which `held` are taken; any thread may ask."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.held = 0
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Take so many bytes if they are left; whether they were."""
        with self._lock:
            fits = self.held + nbytes <= self.nbytes
            self.held += nbytes if fits else 0
            return fits

    def take_some(self, nbytes: int) -> int:
        """Take what is left of so many bytes; how many that is."""
        with self._lock:
            found = max(0, min(nbytes, self.nbytes - self.held))
            self.held += found
            return found

    def give_back(self, nbytes: int) -> None:
        """Have bytes that were taken for others."""
        with self._lock:
            self.held -= nbytes

    def begin_anew(self, given: int) -> None:
        """Give bytes back in a process that was forked off, where the lock may be held."""
        self._lock = threading.Lock()
        self.held -= given
