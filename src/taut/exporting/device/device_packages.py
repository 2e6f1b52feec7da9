"""The packages of an extra for devices, imported when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from taut.exporting.device.quiet_native import quiet_native
from taut.extras import need_extra


@dataclass(frozen=True)
class DevicePackages:
    """The `packages` of the extra `extra`, which `what` takes."""

    extra: str
    what: str
    packages: tuple[str, ...]

    def need(self, package: str) -> ModuleType:
        """Import one of them, or a module of one, without what it says of itself.

        Raises:
            ArgumentError: it is not installed; the message says what to do.
        """
        with quiet_native():
            return need_extra(package, self.extra, f"{self.what} takes")

    def need_all(self) -> None:
        """Import PyTorch and all of them, before any work.

        Raises:
            ArgumentError: one is not installed; the message says what to do.
        """
        for package in ("torch", *self.packages):
            self.need(package)
