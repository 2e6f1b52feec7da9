"""Compression with training: a network, a loop over data, and a target."""

from taut.training.data import open_teacher, open_train
from taut.training.kept import discard_kept
from taut.training.loop import Fit, parts_of, task_loss
from taut.training.objective import Objective
from taut.training.request import TrainRequest
from taut.training.run import TrainedRun
from taut.training.schemes import trained_schemes

__all__ = [
    "Fit",
    "Objective",
    "TrainRequest",
    "TrainedRun",
    "discard_kept",
    "open_teacher",
    "open_train",
    "parts_of",
    "task_loss",
    "trained_schemes",
]
