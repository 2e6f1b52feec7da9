"""How many threads to use when nobody says."""

from __future__ import annotations

import os

from taut.errors import ArgumentError


def checked_threads(threads: int | None) -> int:
    """Give `threads`, or for None the cores that this process may use; `ArgumentError` below 1."""
    if threads is not None:
        if not isinstance(threads, int) or threads < 1:
            raise ArgumentError(f"threads: {threads!r} is no number of at least 1")
        return threads
    if hasattr(os, "sched_getaffinity"):  # a container or taskset may give fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
