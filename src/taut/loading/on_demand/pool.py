"""A few buffers that are filled again and again, so that decoding waits for no page faults."""

from __future__ import annotations

import threading

import numpy as np

from taut.io.arena import allocate

_LARGE = 1 << 24  # bytes from which huge pages are worth the part of the last one that stays empty
_LINE = 64


class Pool:
    """Lends uint8 buffers; holds no more bytes than were ever lent at once.

    `peak` is the most bytes that were lent and free together.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._lock = threading.Lock()
        self._free: list[np.ndarray] = []
        self._lent = 0
        self._most = 0

    @property
    def nbytes(self) -> int:
        """The bytes that are lent or free now."""
        with self._lock:
            return self._lent + self._idle()

    def lend(self, nbytes: int) -> np.ndarray:
        """Give a buffer of exactly this size, a used one where there is one."""
        with self._lock:
            self._lent += nbytes
            self._most = max(self._most, self._lent)
            for number, buffer in enumerate(self._free):
                if buffer.nbytes == nbytes:
                    return self._free.pop(number)
            self._trim()
            self.peak = max(self.peak, self._lent + self._idle())
        if nbytes >= _LARGE:
            (made,) = allocate([nbytes])
            return made
        raw = np.empty(nbytes + _LINE, np.uint8)
        skip = -raw.ctypes.data % _LINE
        return raw[skip : skip + nbytes]

    def take_back(self, buffer: np.ndarray) -> None:
        """Keep a buffer for the next that asks for its size."""
        with self._lock:
            self._lent -= buffer.nbytes
            self._free.append(buffer)
            self._trim()

    def give_away(self, nbytes: int) -> None:
        """Count a buffer no longer: somebody keeps it."""
        with self._lock:
            self._lent -= nbytes
            self._trim()

    def _idle(self) -> int:
        return sum(buffer.nbytes for buffer in self._free)

    def _trim(self) -> None:
        """Drop the largest free buffers until no more is held than was ever needed."""
        self._free.sort(key=lambda buffer: buffer.nbytes)
        while self._free and self._lent + self._idle() > self._most:
            self._free.pop()
