"""The packages of the `executorch` extra, imported when they are needed."""

from __future__ import annotations

from importlib.metadata import version
from types import ModuleType

from taut.exporting.device.quiet_native import quiet_native
from taut.extras import need_extra


def need_executorch(package: str) -> ModuleType:
    """Import a package of the `executorch` extra, without what it says of itself.

    Raises:
        ArgumentError: it is not installed; the message says what to do.
    """
    with quiet_native():
        return need_extra(package, "executorch", "ExecuTorch takes")


def need_all_executorch() -> None:
    """Raise before any work where one of them is missing."""
    for package in ("torch", "executorch.exir", "torchao.quantization.pt2e"):
        need_executorch(package)


def runtime_name() -> str:
    """What runs a .pte file here, with its version."""
    return f"ExecuTorch {version('executorch')}"
