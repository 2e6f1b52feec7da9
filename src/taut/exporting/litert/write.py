"""A network as a .tflite file, run in LiteRT against the network before it gets its name."""

from __future__ import annotations

from pathlib import Path

from taut.exporting.device.device_form import DeviceForm
from taut.exporting.device.folded_program import Folded
from taut.exporting.device.single_samples import Samples
from taut.exporting.litert.interpreter import LiteRunner
from taut.exporting.litert.own_weights import own_weights
from taut.exporting.litert.to_flatbuffer import float_model, rounded_model
from taut.exporting.onnx.onnx_form import Placed


def write_litert(folded: Folded, samples: Samples, form: DeviceForm, path: Path) -> Placed:
    """Convert a folded network, round it to a form, and write it to `path`.

    Raises:
        ArgumentError: litert-torch cannot convert it, or AI Edge Quantizer cannot round it.
    """
    floats = float_model(folded)
    if form.weights == "float32":
        done = own_weights(floats, floats)
    else:
        feed = LiteRunner(floats).feed
        done = own_weights(floats, rounded_model(floats, form, map(feed, samples.data)))
    path.write_bytes(done.model)
    return Placed(done.exact, done.rounded)
