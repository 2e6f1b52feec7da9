"""Training: fake quantisation, masks, a teacher and the coder's bits, in one loop.

This folder is PyTorch's: it is imported inside functions, by whoever has a network to train. What a
training is asked for is said in `taut.transform.settings`, which needs nothing.
"""

from taut.transform.train.loop import Fit, parts_of, task_loss
from taut.transform.train.objective import Objective

__all__ = ["Fit", "Objective", "parts_of", "task_loss"]
