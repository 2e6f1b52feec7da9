"""Compression with training: a network, a loop over data, and a target."""

from laconic.training.inputs import open_teacher, open_train
from laconic.training.kept import discard_kept
from laconic.training.request import TrainRequest
from laconic.training.run import TrainedRun
from laconic.training.schemes import trained_schemes

__all__ = [
    "TrainRequest",
    "TrainedRun",
    "discard_kept",
    "open_teacher",
    "open_train",
    "trained_schemes",
]
