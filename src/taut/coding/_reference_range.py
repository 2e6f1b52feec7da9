"""The arithmetic decoder of adaptive arrays as docs/coding.md describes it, in plain integers.

The fifth part of the reference decoder: bits and the weights that foretell them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from taut.coding._reference_symbols import demand

_EDGE = 12 << 24  # of log-odds


def _probabilities() -> list[int]:
    """Of a bit being 1, in 2^-16, for log-odds in steps of 1/128 from -12 to 12."""
    upper, power = [], 1 << 40
    for _ in range(1537):
        upper.append(min(65535, (1 << 56) // ((1 << 40) + power)))
        power = power * 16646655 >> 24
    return [65536 - p for p in upper[:0:-1]] + upper


_PROBABILITY = _probabilities()


@dataclass
class ModelWeight:
    """Mean (in 2^-24) and variance (in 2^-28) of what a feature adds to the log-odds."""

    mean: int = 0
    variance: int = 0


@dataclass
class Range:
    """The arithmetic decoder; bytes behind the last are zeros."""

    data: bytes
    read: int = 4
    width: int = 0xFFFFFFFF
    code: int = field(init=False)

    def __post_init__(self) -> None:
        self.code = int.from_bytes(self.data[:4].ljust(4, b"\0"), "big")

    def bit(self, p: int) -> int:
        bound = (self.width >> 16) * p
        one = self.code < bound
        self.code -= 0 if one else bound
        self.width = bound if one else self.width - bound
        while self.width < 1 << 24:
            following = self.data[self.read] if self.read < len(self.data) else 0
            self.width, self.code = self.width << 8, self.code << 8 | following
            self.read += 1
        return int(one)

    def decide(self, *features: ModelWeight) -> tuple[int, int]:
        """A bit and the log-odds it had; the weights learn from it."""
        total = sum(w.mean for w in features)
        p = _PROBABILITY[(min(max(total, -_EDGE), _EDGE) + _EDGE + (1 << 16)) >> 17]
        bit = self.bit(p)
        steep = p * (65536 - p) >> 16
        gain = 0xFFFFFFFF // (65536 + (steep * sum(w.variance for w in features) >> 28))
        error, known = ((65536 if bit else 0) - p) * gain >> 16, steep * gain >> 16
        for w in features:
            v, limit = w.variance, 15 << 24
            w.mean = min(max(w.mean + (v * error >> 20), -limit), limit)
            w.variance = max(v - (v * (v * known >> 16) >> 28), min(v, 1 << 19))
        return bit, total

    def check(self) -> None:
        """Whether the end is the one that an encoder leaves."""
        missing = self.read - len(self.data)
        demand(missing <= 4, "symbols end early")
        demand(missing >= 0, "bytes are left over")
        recent = int.from_bytes((self.data + bytes(missing))[-4:], "big")
        demand(missing == 4 or recent >> 8 * missing & 255 != 0, "a zero too many")
        unit = recent & -recent if recent else 1 << 32
        demand(self.code < unit and self.code + unit >= self.width, "not the shortest number")
