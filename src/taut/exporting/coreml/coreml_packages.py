"""The packages of the `coreml` extra."""

from __future__ import annotations

from taut.exporting.device.device_packages import DevicePackages

COREML = DevicePackages("coreml", "Core ML", ("coremltools", "coremltools.libmilstoragepython"))
