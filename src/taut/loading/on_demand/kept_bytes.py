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

    def begin_anew(self, given: int) -> None:
        """Give bytes back in a process that was forked off, where the lock may be held."""
        self._lock = threading.Lock()
        self.held -= given
