"""The packages of the `executorch` extra."""

from __future__ import annotations

from importlib.metadata import version

from taut.exporting.device.device_packages import DevicePackages

EXECUTORCH = DevicePackages(
    "executorch", "ExecuTorch", ("executorch.exir", "torchao.quantization.pt2e")
)


def runtime_name() -> str:
    """What runs a .pte file here, with its version."""
    return f"ExecuTorch {version('executorch')}"
