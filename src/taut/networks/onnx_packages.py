"""The packages of the `onnx` extra, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from taut.errors import ArgumentError


def need(package: str) -> ModuleType:
    """Import a package of the `onnx` extra.

    Raises:
        ArgumentError: it is not installed; the message says what to do.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = getattr(error, "name", None) or package
        raise ArgumentError(f"ONNX takes {name}: pip install 'taut[onnx]'") from None


def need_all() -> None:
    """Raise before any work where one of them is missing."""
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        need(package)
