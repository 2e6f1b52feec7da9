"""The energy of an Nvidia GPU: its counter, or its power watched by a thread where it has none."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, Protocol, cast

_PAUSE: Final = 0.02  # seconds between two readings of the power; boards renew it about as often


class Nvml(Protocol):
    """What is used of pynvml: millijoules since the driver was loaded, milliwatts now."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object: ...  # noqa: N802
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetPowerUsage(self, handle: object) -> int: ...  # noqa: N802


@dataclass
class Counter:
    """The GPU's own counter of joules."""

    read: Callable[[], int]  # millijoules
    what: str = "NVML, the whole GPU with what it draws when idle, the processor not included"
    first: int = 0
    source: Literal["nvml"] = "nvml"

    def start(self) -> None:
        """Count from now on."""
        self.first = self.read()

    def tick(self) -> None:
        """Nothing: the counter does not begin again."""

    def stop(self) -> float | None:
        """Joules since the start; None where the counter stood still."""
        spent = self.read() - self.first
        return spent / 1e3 if spent > 0 else None


@dataclass
class Sampled:
    """The power, read by a thread all the while and summed up by the trapezoidal rule."""

    read: Callable[[], int]  # milliwatts
    pause: float = _PAUSE
    clock: Callable[[], float] = time.monotonic
    what: str = "NVML, sampled power of the whole GPU, the processor not included"
    source: Literal["nvml"] = "nvml"
    _found: list[tuple[float, float]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._sample()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Nothing: the thread reads by itself."""

    def stop(self) -> float | None:
        """Joules since the start; None where no power was read."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._sample()
        joules = trapezoid(self._found)
        return joules if joules > 0 else None

    def _watch(self) -> None:
        while not self._ended.wait(self.pause):
            self._sample()

    def _sample(self) -> None:
        self._found.append((self.clock(), self.read() / 1e3))


def trapezoid(found: list[tuple[float, float]]) -> float:
    """Joules of (seconds, watts) in order.

    >>> trapezoid([(0.0, 10.0), (1.0, 20.0), (3.0, 20.0)])
    55.0
    """
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(found))


def open_gpu(device: str, nvml: Nvml | None) -> Counter | Sampled | str:
    """A meter of torch's GPU `device` ("cuda:1"), or why there is none."""
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            return "a GPU's joules take pynvml: pip install 'taut[energy]'"
        nvml = cast(Nvml, pynvml)
    index = int(device.partition(":")[2] or 0)
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, index)
    except nvml.NVMLError as error:
        return f"NVML finds no GPU: {error}"
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return Counter(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except nvml.NVMLError:  # before Volta
        pass
    try:
        nvml.nvmlDeviceGetPowerUsage(handle)
        return Sampled(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    except nvml.NVMLError as error:
        return f"the GPU tells neither its energy nor its power: {error}"


def _handle(nvml: Nvml, index: int) -> object:
    """Torch counts the GPUs it may see, NVML all of them: the GPU's UUID is the same in both."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
        if uuid is not None:
            return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    return nvml.nvmlDeviceGetHandleByIndex(index)
