"""What calibrated work is given: a model that runs, and the batches to run it on."""

from taut.inputs.calibration import Calibration, CalibrationSpec, open_calibration, run_batch
from taut.inputs.callables import load_callable
from taut.inputs.models import LoadedModel, ModelSpec, open_model
from taut.inputs.texts import read_texts

__all__ = [
    "Calibration",
    "CalibrationSpec",
    "LoadedModel",
    "ModelSpec",
    "load_callable",
    "open_calibration",
    "open_model",
    "read_texts",
    "run_batch",
]
