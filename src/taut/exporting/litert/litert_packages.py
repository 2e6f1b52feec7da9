"""The packages of the `litert` extra."""

from __future__ import annotations

from importlib.metadata import version

from taut.exporting.device.device_packages import DevicePackages

LITERT = DevicePackages(
    "litert", "LiteRT", ("ai_edge_litert.interpreter", "ai_edge_quantizer", "litert_torch")
)


def runtime_name() -> str:
    """What runs a .tflite file here, with its version."""
    return f"ai-edge-litert {version('ai-edge-litert')}"
