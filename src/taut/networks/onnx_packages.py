"""The packages of the `onnx` extra, imported when they are needed."""

from __future__ import annotations

from types import ModuleType

from taut.extras import need_extra


def need(package: str) -> ModuleType:
    """Import a package of the `onnx` extra.

    Raises:
        ArgumentError: it is not installed; the message says what to do.
    """
    return need_extra(package, "onnx", "ONNX takes")


def need_all() -> None:
    """Raise before any work where one of them is missing."""
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        need(package)
