"""The machine that the work runs on: its cores, and the memory that the process took of it."""

from taut.machine.cores import checked_threads
from taut.machine.heap import trim_heap
from taut.machine.peak_memory import peak_memory

__all__ = ["checked_threads", "peak_memory", "trim_heap"]
