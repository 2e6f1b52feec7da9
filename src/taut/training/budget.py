"""The size as a training's second aim: how much a bit weighs, steered until the size comes out.

A dual ascent: while the bits are above their course the weight of a bit grows, while they are below
it falls. The course leads from the size at the beginning to the size asked for, evenly in the
logarithm, and is there after a fraction `ramp` of the training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

_WINDOW: Final = 0.05  # an excess beyond it, in nats, counts as this
_GAIN: Final = 0.04  # nats by which the weight changes at a look, at that excess
_PUSH: Final = 1.0  # nats by which it answers at once
_LEAST: Final = 1e-9
_AIM: Final = 0.99  # of the size: what is left for what the estimate does not see


@dataclass
class Budget:
    """`target` and `spent` in bits; `price` is what a bit costs in units of the loss.

    `other` are bits of the file that training does not change: headers, norms.
    """

    target: float
    ramp: float
    other: float = 0.0
    spent: float = 0.0
    started: float | None = None
    _base: float = field(default=0.0)
    price: float = 0.0

    def look(self, spent: float, progress: float, parameters: int) -> None:
        """Take note of the bits spent now; `progress` is the part of the training behind."""
        self.spent = spent
        if self.started is None:
            self.started = spent
            self._base = 1e-3 / parameters
        excess = math.log(max(spent, 1.0) / self.course(progress))
        excess = min(1.0, max(-1.0, excess / _WINDOW))
        self._base = min(1e3, max(_LEAST / parameters, self._base * math.exp(_GAIN * excess)))
        self.price = self._base * math.exp(_PUSH * excess)

    def course(self, progress: float) -> float:
        """The bits that the tensors in training should take by now."""
        start = max(self.started or 1.0, 1.0)
        end = max(_AIM * self.target - self.other, 64.0)
        part = min(1.0, progress / self.ramp)
        return max(1.0, math.exp((1 - part) * math.log(start) + part * math.log(end)))
