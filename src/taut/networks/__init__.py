"""What calibrated work is given: a model that runs, and the batches to run it on."""

from taut.networks.calibration import (
    Calibration,
    CalibrationSpec,
    check_loss,
    open_calibration,
    run_batch,
)
from taut.networks.callables import load_callable
from taut.networks.models import LoadedModel, ModelSpec, open_model
from taut.networks.text_data import TextData
from taut.networks.texts import read_texts

__all__ = [
    "Calibration",
    "CalibrationSpec",
    "LoadedModel",
    "ModelSpec",
    "TextData",
    "check_loss",
    "load_callable",
    "open_calibration",
    "open_model",
    "read_texts",
    "run_batch",
]
