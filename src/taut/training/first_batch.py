"""What the first batch of a training shows before any work."""

from __future__ import annotations

import torch
from torch import nn

from taut.errors import ArgumentError
from taut.networks.calls import evaluating, run
from taut.networks.precision import is_widened
from taut.training.batch_parts import parts_of
from taut.training.epochs import passed
from taut.training.loop import Fit


def check_single(module: nn.Module, fit: object) -> None:
    """Refuse a network in half precision that does not run in float32, in which it is trained.

    Only batches can show it; a loop of the caller's own is given float32.

    Raises:
        ArgumentError: it rejects the first batch; the message says why it is in float32.
    """
    if not isinstance(fit, Fit) or not is_widened(module):
        return
    batch = next(passed(fit.batches), None)
    if batch is None:
        return
    try:
        with torch.no_grad(), evaluating(module):
            run(module, parts_of(batch, module)[0], "train: batch 1")
    except ArgumentError as error:
        raise ArgumentError(
            f"{error}; its half precision is made float32 for training: let its forward name no "
            "type (x.to(self.layer.weight.dtype)), or calibrate it (calib), which runs it as it is"
        ) from error
