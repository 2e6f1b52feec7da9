"""Compression with training: a network, a loop over data, and a target."""

from taut.training.batch_parts import parts_of
from taut.training.data import open_teacher, open_train
from taut.training.epochs import passed
from taut.training.kept import discard_kept
from taut.training.loop import Fit
from taut.training.objective import Objective
from taut.training.request import TrainRequest
from taut.training.run import TrainedRun
from taut.training.schemes import trained_schemes
from taut.training.task import task_loss

__all__ = [
    "Fit",
    "Objective",
    "TrainRequest",
    "TrainedRun",
    "discard_kept",
    "open_teacher",
    "open_train",
    "parts_of",
    "passed",
    "task_loss",
    "trained_schemes",
]
