"""Compression with training: a network, a loop over data, and a target."""

from taut.training.inputs import open_teacher, open_train
from taut.training.kept import discard_kept
from taut.training.request import TrainRequest
from taut.training.run import TrainedRun
from taut.training.schemes import trained_schemes

__all__ = [
    "TrainRequest",
    "TrainedRun",
    "discard_kept",
    "open_teacher",
    "open_train",
    "trained_schemes",
]
