"""Windows that a subject's own network generates, as Taut does for its users' calibration data."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from taut.networks import TextData, open_calibration, open_model


def with_generated(network: torch.nn.Module, windows: Tensor, share: float) -> Tensor:
    """Windows of tokens, int64 (windows, length), and generated ones among them, `share` of all."""
    data = TextData(windows.numpy(), generated=share)
    batches = open_calibration(data, open_model(network))
    return torch.cat([cast("dict[str, Tensor]", batch)["input_ids"] for batch in batches])
