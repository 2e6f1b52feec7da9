"""What calibrated work is given: a model that runs, and the batches to run it on."""

from laconic.inputs.calibration import Calibration, CalibrationSpec, open_calibration, run_batch
from laconic.inputs.callables import load_callable
from laconic.inputs.models import LoadedModel, ModelSpec, open_model
from laconic.inputs.texts import read_texts

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
