"""Parameters on their way to better values: Adam with a rate that fits each one's scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from taut.io.dtypes import LARGEST_HALF

if TYPE_CHECKING:
    import torch

_WARM: Final = 0.05  # part of the steps in which the rate grows
_LOOKS: Final = 10  # times that values are judged
_BETWEEN: Final = 5  # steps from one look to the next, at least: a look takes as long as some


class Tuning:
    """Float32 masters of `parameters`, and the best rounded values of them so far.

    What the parameters themselves hold is rounded whenever it is judged, so that nothing is
    believed of values that a file cannot hold.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        *,
        rate: float,
        half: bool,
        before: float,
    ) -> None:
        import torch

        self._parameters, self._half = parameters, half
        self._masters = {name: one.detach().float().clone() for name, one in parameters.items()}
        self._given = {name: one.clone() for name, one in self._masters.items()}
        self._best = self._given
        self.after, self._rate = before, rate
        self.proved: float | None = None  # the loss that the best has where it did not decide
        scales = {name: float(one.square().mean().sqrt()) for name, one in self._masters.items()}
        # One near zero, like a fresh bias, takes part of what the others have.
        floor = max(0.1 * float(np.median([*scales.values()])) if scales else 0.0, 1e-6)
        groups = [
            {"params": [master], "scale": max(scales[name], floor)}
            for name, master in self._masters.items()
        ]
        groups = groups or [{"params": [torch.zeros(0)], "scale": 0.0}]  # Adam wants one at least
        # eps lies far below any gradient: Adam's steps do not depend on the loss's unit.
        self._adam = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99), eps=1e-20)

    def step(self, gradients: Sequence[torch.Tensor | None], height: float) -> None:
        """Go one step against a loss's gradients, at `height` times the peak rate."""
        for master, gradient in zip(self._masters.values(), gradients, strict=True):
            master.grad = None if gradient is None else gradient.float()
        for group in self._adam.param_groups:
            group["lr"] = height * self._rate * group["scale"]
        self._adam.step()
        self._load(self._masters)

    def consider(self, mean: Callable[[], float], proof: Callable[[], float] | None = None) -> None:
        """Keep the values of now if, rounded, their loss is the smallest yet; else go back.

        `proof` is their loss on what does not decide. Going back halves the rate twice: few samples
        want far smaller steps than many do, and which these are the loss on others knows best.
        """
        import torch

        rounded = {name: self._rounded(name) for name in self._masters}
        self._load(rounded)
        found = mean()
        if found < self.after:
            self.after, self._best = found, rounded
            self.proved = None if proof is None else proof()
        else:
            with torch.no_grad():
                for name, master in self._masters.items():
                    master.copy_(self._best[name])
            self._rate /= 4
        self._load(self._masters)

    def undo(self) -> None:
        """Go back to the values as given: what was learnt is worth nothing."""
        self._best = self._given

    def settle(self) -> dict[str, NDArray[np.float32]]:
        """Load the best values for good, and return them."""
        self._load(self._best)
        return {name: one.cpu().numpy().copy() for name, one in self._best.items()}

    def _rounded(self, name: str) -> torch.Tensor:
        master, dtype = self._masters[name], self._parameters[name].dtype
        if self._half and dtype.itemsize > 2:
            return master.clamp(-LARGEST_HALF, LARGEST_HALF).half().float()
        return master.to(dtype).float()

    def _load(self, values: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, one in self._parameters.items():
                one.copy_(values[name])


class Clock:
    """How far tuning has come, from 0 to 1: by steps, or by seconds where these run out first."""

    def __init__(self, steps: int, seconds: float | None) -> None:
        self.steps, self._seconds = steps, seconds
        self._start, self._looked = monotonic(), 0

    def share(self, taken: int) -> float:
        """Return 1 or more at the end."""
        by_steps = taken / self.steps if self.steps else 1.0
        if self._seconds is None:
            return by_steps
        return max(by_steps, (monotonic() - self._start) / max(self._seconds, 1e-9))

    def due(self, taken: int) -> bool:
        """Say whether to look at the loss: at so many even shares, and at the end."""
        looks = max(1, min(_LOOKS, self.steps // _BETWEEN)) if self.steps else _LOOKS
        reached = int(min(1.0, self.share(taken)) * looks)
        due = reached > self._looked
        self._looked = reached
        return due


def height(share: float) -> float:
    """Return the rate over its peak: up in a line, then half a cosine down to 0.

    >>> [round(height(share), 2) for share in (0.025, 0.05, 0.525, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if share < _WARM:
        return share / _WARM
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (share - _WARM) / (1 - _WARM)))
