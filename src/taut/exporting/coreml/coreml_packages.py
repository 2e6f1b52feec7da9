"""The packages of the `coreml` extra, imported when they are needed."""

from __future__ import annotations

from types import ModuleType

from taut.exporting.device.quiet_native import quiet_native
from taut.extras import need_extra


def need_coreml(package: str) -> ModuleType:
    """Import a package of the `coreml` extra, without what it says of itself.

    Raises:
        ArgumentError: it is not installed; the message says what to do.
    """
    with quiet_native():
        return need_extra(package, "coreml", "Core ML takes")


def need_all_coreml() -> None:
    """Raise before any work where one of them is missing."""
    for package in ("torch", "coremltools", "coremltools.libmilstoragepython"):
        need_coreml(package)
