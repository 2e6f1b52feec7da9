"""The packages of the `litert` extra, imported when they are needed."""

from __future__ import annotations

from importlib.metadata import version
from types import ModuleType

from taut.exporting.device.quiet_native import quiet_native
from taut.extras import need_extra


def need_litert(package: str) -> ModuleType:
    """Import a package of the `litert` extra, without what it says of itself.

    Raises:
        ArgumentError: it is not installed; the message says what to do.
    """
    with quiet_native():
        return need_extra(package, "litert", "LiteRT takes")


def need_all_litert() -> None:
    """Raise before any work where one of them is missing."""
    for package in ("torch", "ai_edge_litert.interpreter", "ai_edge_quantizer", "litert_torch"):
        need_litert(package)


def runtime_name() -> str:
    """What runs a .tflite file here, with its version."""
    return f"ai-edge-litert {version('ai-edge-litert')}"
