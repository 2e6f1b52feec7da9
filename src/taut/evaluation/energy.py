"""Joules of a call, from the machine's own meters.

Surprise: a meter is of a whole GPU or of whole processor packages, with what they draw when idle
and for whatever else runs on them. It is read on the device that does the work: a GPU's where
torch uses one, else the processor's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from taut.errors import ArgumentError
from taut.evaluation._nvml import Counter, Nvml, Sampled, open_gpu
from taut.evaluation._rapl import Packages, open_packages
from taut.evaluation.speed import settle
from taut.scoring.results import Energy

Meter: TypeAlias = Packages | Counter | Sampled

POWERCAP: Final = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Instruments:
    """What energy and time are read from: RAPL's folder, NVML (by default pynvml), two clocks."""

    powercap: Path = POWERCAP
    nvml: Nvml | None = None
    clock: Callable[[], float] = time.monotonic
    cpu_clock: Callable[[], float] = time.process_time


_OWN: Final = Instruments()


def measure_energy(
    run: Callable[[], object],
    *,
    seconds: float = 5.0,
    watts: float | None = None,
    device: str | None = None,
    instruments: Instruments = _OWN,
) -> Energy:
    """Joules of one call of `run`: the mean of as many as fit into `seconds`, at least one.

    `device` is where it computes, "cpu" or "cuda:0" (None: torch's current GPU where it uses one).
    A GPU is metered through NVML, a processor through RAPL's package domains. Where neither can be
    read, `watts`, what one busy core draws, gives an estimate: seconds of processor time of this
    process, all threads of it, times `watts`.

    Raises:
        ArgumentError: `seconds` or `watts` is not more than 0.

    >>> blind = Instruments(powercap=Path("none"))
    >>> found = measure_energy(lambda: sum(range(9)), seconds=0.01, instruments=blind)
    >>> found.joules, found.note
    (None, 'not measurable here: none has no RAPL meter of this processor (intel-rapl)')
    """
    if not seconds > 0:
        raise ArgumentError(f"energy: seconds {seconds} must be more than 0")
    if watts is not None and not watts > 0:
        raise ArgumentError(f"energy: watts {watts} must be more than 0")
    gpu = _gpu(device)
    powercap, nvml = instruments.powercap, instruments.nvml
    meter = open_packages(powercap) if gpu is None else open_gpu(gpu, nvml)
    if not isinstance(meter, str):
        return _measured(run, seconds, meter, instruments)
    if watts is None:  # there is nothing to be had: do not run at all
        return Energy(joules=None, source=None, note=f"not measurable here: {meter}")
    found = _estimated(run, seconds, watts, instruments)
    return replace(found, note=f"{found.note}; not measurable here: {meter}")


def _measured(
    run: Callable[[], object], seconds: float, meter: Meter, instruments: Instruments
) -> Energy:
    """What a meter tells of a call; nothing where it stood still."""
    clock = instruments.clock
    run()
    settle()
    began = clock()
    calls, joules = _metered(run, seconds, meter, clock)
    took = clock() - began
    if joules is None:
        note = f"not measurable here: {meter.what}: stood still in {took:.3g} s"
        return Energy(joules=None, source=None, note=note)
    note = f"{meter.what}; mean of {calls} calls in {took:.3g} s"
    return Energy(joules=joules / calls, source=meter.source, note=note)


def _estimated(
    run: Callable[[], object], seconds: float, watts: float, instruments: Instruments
) -> Energy:
    """Processor time of a call, times what one busy core draws."""
    clock, cpu_clock = instruments.clock, instruments.cpu_clock
    run()
    settle()
    began, cpu_began = clock(), cpu_clock()
    calls, _ = _metered(run, seconds, None, clock)
    took, busy = clock() - began, cpu_clock() - cpu_began
    note = f"processor time of this process x {watts:g} W a core, mean of {calls} calls in "
    return Energy(joules=busy * watts / calls, source="estimate", note=f"{note}{took:.3g} s")


def _metered(
    run: Callable[[], object], seconds: float, meter: Meter | None, clock: Callable[[], float]
) -> tuple[int, float | None]:
    """How often `run` ran, and the joules it took; the meter is stopped also if it raises."""
    calls, began = 0, clock()
    read = began
    if meter is not None:
        meter.start()
    try:
        while not calls or clock() - began < seconds:
            run()
            settle()
            calls += 1
            if meter is not None and clock() - read >= 1:  # often enough, and seldom enough
                meter.tick()
                read = clock()
    finally:
        joules = None if meter is None else meter.stop()
    return calls, joules


def _gpu(device: str | None) -> str | None:
    """The GPU that does the work as torch calls it, "cuda:0"; None for a processor."""
    if device is not None:
        return device if device.startswith("cuda") else None
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return f"cuda:{torch.cuda.current_device()}"
