"""The model of an adaptive array's rows as docs/coding.md describes it: from bits to indices.

The sixth part of the reference decoder: `_reference_range.py` has the bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from taut.coding._reference_range import ModelWeight, Range

_LINE = (0, 1 << 24, 1 << 26, 1 << 28)
_NEAR = (0, 1 << 22, 1 << 24, 1 << 26)


@dataclass(frozen=True)
class Model:
    """How the model of an array begins."""

    options: int
    prior: int
    largest: int
    signs: bool = False
    period: int = 1


def _weights(count: int, variance: int, mean: int = 0) -> list[ModelWeight]:
    return [ModelWeight(mean, variance) for _ in range(count)]


class Rows:
    """Decodes the rows of a chunk one after the other."""

    def __init__(self, coder: Range, model: Model, columns: int) -> None:
        self.coder, self.model = coder, model
        line, near = _LINE[model.options >> 4 & 3], _NEAR[model.options >> 6]
        [self.bias] = _weights(1, 1 << 29, ((model.prior & 15) - 10) * (3 << 22))
        self.steps = _weights(32, 1 << 29, ((model.prior >> 4) - 11) * (3 << 22))
        self.near, self.around = _weights(27, near), _weights(320, near)
        self.step_near, self.step_scale = _weights(48, near), _weights(32, 1 << 24)
        self.tree = [_weights(8, 1 << 28) for _ in range(32)]
        self.sign_near = _weights(9, 1 << 24)
        self.column, self.step_column = _weights(columns, line), _weights(columns, line)
        self.sign_column = _weights(columns, 1 << 24)
        self.span = model.period if model.period > 1 else 8
        self.positions = model.period if model.period <= 64 else 1
        self.block = _weights(-(-columns // self.span), near)
        self.flags = _weights(8, 1 << 29)
        self.live, self.dead_before = list(range(columns)), 0
        if model.options & 2:
            self.live = self._live_columns(columns)
        self.above = [0] * (len(self.live) + 1)

    def _live_columns(self, columns: int) -> list[int]:
        before, live = 0, []
        for c in range(columns):
            dead, _ = self.coder.decide(self.flags[before])
            before = (before << 1 | dead) & 3
            live += [] if dead else [c]
        return live

    def row(self, columns: int) -> list[int]:
        q = [0] * columns
        if self.model.options & 1:
            dead, _ = self.coder.decide(self.flags[4 + self.dead_before])
            self.dead_before = (self.dead_before << 1 | dead) & 3
            if dead:
                return q
        line = _LINE[self.model.options >> 2 & 3]
        [of_row, of_steps], [of_signs] = _weights(2, line), _weights(1, 1 << 24)
        left = left2 = corner = history = inside = before = 0
        for i, c in enumerate(self.live):
            up, following = self.above[i], self.above[i + 1]
            inside = inside if c // self.span == before else 0
            before = c // self.span
            near = self.near[min(abs(left), 2) * 9 + min(abs(left2), 2) * 3 + min(abs(up), 2)]
            if self.model.period > 1:
                around = c % self.positions * 5 + min(inside, 4)
            else:
                around = min(history.bit_count(), 7) * 3 + (corner != 0) + (following != 0)
            block, logit, some = self.block[c // self.span], 0, 1
            if not (self.model.options & 1 and i + 1 == len(self.live) and not any(q)):
                some, logit = self.coder.decide(
                    self.bias, of_row, self.column[c], block, near, self.around[around]
                )
            if some:
                q[c] = self._nonzero(c, logit, left, up, of_steps, of_signs)
            history, inside = (history << 1 | some) & 0xFFFF, inside + some
            left2, left, corner = left, min(max(q[c], -3), 3), up
            self.above[i] = left
        return q

    def _nonzero(
        self, c: int, logit: int, left: int, up: int, of_row: ModelWeight, of_signs: ModelWeight
    ) -> int:
        scale, near = min(max((logit >> 23) + 8, 0), 15), min(abs(left), 3) * 4 + min(abs(up), 3)
        e = 0
        while e < self.model.largest:
            step_near = self.step_near[min(e, 2) * 16 + near]
            step_scale = self.step_scale[scale * 2 + min(e, 1)]
            features = self.steps[e], of_row, self.step_column[c], step_scale, step_near
            if not self.coder.decide(*features)[0]:
                break
            e += 1
        magnitude = 1
        for k in range(e):
            leaf = (1 << k) - 1 + magnitude - (1 << k)
            bit = self.coder.decide(self.tree[e][leaf])[0] if k < 3 else self.coder.bit(32768)
            magnitude = magnitude << 1 | bit
        if self.model.signs:
            sides = self.sign_near[(_sign(left) + 1) * 3 + _sign(up) + 1]
            negative, _ = self.coder.decide(sides, self.sign_column[c], of_signs)
        else:
            negative = self.coder.bit(32768)
        return to_int32(-magnitude if negative else magnitude)


def _sign(q: int) -> int:
    return (q > 0) - (q < 0)


def to_int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
