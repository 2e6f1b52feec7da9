"""What was asked for, in bytes on disk."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from taut.errors import ArgumentError

_UNITS = {
    **{"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z%]*)")

# A file is to be between this share of the target and the target.
TOLERANCE = 0.99
_MOST = 2.0**63  # no file is as large; a float far above becomes infinite


@dataclass(frozen=True)
class Target:
    """A size in bytes that the file may have at most; `text` is how it was asked for."""

    nbytes: int
    text: str

    def met_by(self, size: int) -> bool:
        """Whether a file of `size` bytes is within a percent below the target."""
        return TOLERANCE * self.nbytes <= size <= self.nbytes


def parse_target(
    *, bits: float | None, size: str | int | None, original: int, parameters: int
) -> Target:
    """The target in bytes of a model of `original` bytes with so many `parameters`.

    `bits` are per parameter of the whole model; `size` is a ratio ("8x"), a percentage of the
    original ("12%"), a size ("4.2MB", "512KiB") or bytes.

    Raises:
        ArgumentError: neither or both are given, or what is given is no positive number.

    >>> parse_target(bits=None, size="8x", original=1000, parameters=250).nbytes
    125
    >>> parse_target(bits=3, size=None, original=1000, parameters=250).nbytes
    93
    """
    if (bits is None) == (size is None):
        raise ArgumentError("give either bits or size")
    if bits is not None:
        if not (isinstance(bits, int | float) and math.isfinite(bits) and bits > 0):
            raise ArgumentError(f"bits: {bits!r} is not a positive number")
        if bits * parameters > _MOST:
            raise ArgumentError(f"bits: {bits:g} is more than any file can hold")
        return Target(int(bits * parameters / 8), f"{bits:g} bits per parameter")
    nbytes = _size_bytes(str(size), original)
    if nbytes < 1:
        raise ArgumentError(f'size: "{size}" is less than a byte')
    return Target(nbytes, f"a size of {size}")


def parse_bytes(size: str | int, what: str) -> int:
    """A size in bytes: "5GB", "512MiB", or a number; `what` it is of, for an error.

    Raises:
        ArgumentError: it is none, or less than a byte.

    >>> parse_bytes("5GB", "shard_size")
    5000000000
    """
    match = _SIZE.fullmatch(str(size).strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or not 1 <= float(match[1]) * unit <= _MOST:
        raise ArgumentError(f'{what}: "{str(size)[:40]}" is no size in bytes; give 5GB or 512MiB')
    return int(float(match[1]) * unit)


def _size_bytes(text: str, original: int) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ArgumentError(_advice(text))
    number, unit = float(match[1]), match[2].lower()
    if number > _MOST:
        raise ArgumentError(_advice(text))
    if unit == "x":
        if number == 0:
            raise ArgumentError(_advice(text))
        return int(original / number)
    if unit == "%":
        return int(original * number / 100)
    if unit not in _UNITS:
        raise ArgumentError(_advice(text))
    return int(number * _UNITS[unit])


def _advice(text: str) -> str:
    return (
        f'size: "{text[:40]}" is none of a ratio (8x), a percentage (12%), a size (4.2MB, 512KiB)'
    )
