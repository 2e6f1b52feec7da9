"""How much faster a network became: both timed in turns in one process, medians compared."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn


def times_as_fast(
    before: nn.Module, after: nn.Module, x: Tensor, *, repeats: int = 31
) -> dict[str, float]:
    """Return the time of `before` over that of `after`, by batch size: one image, and all of `x`.

    They take turns, so that whatever else the machine does falls on both; the first turn warms up.
    """
    return {str(size): _ratio(before, after, x[:size], repeats) for size in (1, len(x))}


def _ratio(before: nn.Module, after: nn.Module, x: Tensor, repeats: int) -> float:
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for network, taken in zip((before, after), seconds, strict=True):
                start = time.perf_counter()
                network(x)
                taken.append(time.perf_counter() - start)
    return median(seconds[0][1:]) / median(seconds[1][1:])
