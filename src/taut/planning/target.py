"""What was asked for, in bytes on disk."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from taut.errors import ArgumentError

_UNITS = {
    **{"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40},
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z%]*)")

# A file is to be between this share of the target and the target.
TOLERANCE = 0.99
_STEP = 64  # bytes that a table or a checksum more may take: small files have sizes so far apart
_MOST_BITS = 64  # of a value of the widest dtype
_LEAST_BYTES = 100  # a bare number below was to be a ratio: a header alone takes more
_MOST = 2.0**63  # no file is as large; a float far above becomes infinite


@dataclass(frozen=True)
class Target:
    """A size in bytes that the file may have at most; `text` is how it was asked for.

    Where a model becomes several files, `beside` of the bytes that were `asked` for go to that.
    """

    nbytes: int
    text: str
    beside: int = 0
    asked: int = 0

    @property
    def told(self) -> int:
        """The bytes that were asked for."""
        return self.asked or self.nbytes

    def less(self, beside: int) -> Target:
        """What is left of it beside so many bytes."""
        return replace(
            self, nbytes=max(1, self.nbytes - beside), beside=self.beside + beside, asked=self.told
        )

    def met_by(self, size: int) -> bool:
        """Whether a file of `size` bytes is within a percent below the target, or a few bytes.

        >>> Target(264, "1 bits per parameter").met_by(257), Target(9000, "9 kB").met_by(8800)
        (True, False)
        """
        return min(TOLERANCE * self.nbytes, self.nbytes - _STEP) <= size <= self.nbytes


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
    if bits is None and size is None:
        raise ArgumentError("give either bits or size")
    check_target(bits=bits, size=size)
    if bits is not None:
        if int(bits * parameters / 8) > original:
            most = 8 * original / max(1, parameters)
            raise ArgumentError(
                f"bits: {bits:g} is more than the {most:.3g} bits per weight that the model has; "
                "leave it out for a bit-exact file"
            )
        return Target(int(bits * parameters / 8), f"{bits:g} bits per parameter")
    nbytes = _size_bytes(str(size), original)
    if nbytes < 1:
        raise ArgumentError(f'size: "{size}" is less than a byte')
    return Target(nbytes, f"a size of {size}")


def parse_bytes(size: str | int, what: str) -> int:
    """A size in bytes: "5GB", "512MiB", or a number; `what` it is of, for an error.

    Raises:
        ArgumentError: it is none, less than a byte, or a text that lacks its unit.

    >>> parse_bytes("5GB", "shard_size")
    5000000000
    """
    match = _SIZE.fullmatch(str(size).strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or not 1 <= float(match[1]) * unit <= _MOST:
        raise ArgumentError(f'{what}: "{str(size)[:40]}" is no size in bytes; give 5GB or 512MiB')
    if isinstance(size, str) and not match[2] and float(match[1]) < _LEAST_BYTES:
        raise ArgumentError(
            f'{what}: "{str(size).strip()}" is {str(size).strip()} bytes, and nothing is so small; '
            f"{match[1]}GB?"
        )
    return int(float(match[1]) * unit)


def read_bits(bits: object, what: str = "bits") -> float | None:
    """Bits as a number: of a text ("3", "2.5") too, and of numpy's numbers; None as it is.

    Raises:
        ArgumentError: it is no positive, finite number.

    >>> read_bits("2.5"), read_bits(None)
    (2.5, None)
    """
    return None if bits is None else _positive(bits, what, "3 or 2.5")


def read_size(size: object, ratio: object = None) -> str | int | None:
    """A size as a target takes it; a `ratio` of 8, or "8x", is the size "8x".

    Raises:
        ArgumentError: both are given, or one is neither text nor number.

    >>> read_size(None, 8), read_size("4.2MB"), read_size(None)
    ('8x', '4.2MB', None)
    """
    if ratio is not None:
        if size is not None:
            raise ArgumentError("size and ratio say the same thing; give one of them")
        text = ratio.strip().lower().removesuffix("x") if isinstance(ratio, str) else ratio
        number = _positive(text, "ratio", "8 or 2.5: how many times smaller")
        if number < 1:
            raise ArgumentError(
                f"ratio: {ratio} is more than the original; it says how many times smaller the "
                "file is to be"
            )
        return f"{format(Decimal(repr(number)).normalize(), 'f')}x"
    if size is None or isinstance(size, str):
        return size
    if isinstance(size, bool) or not isinstance(size, (int, float, np.number)):
        raise ArgumentError(f"size: a {type(size).__name__}; give a text as 8x or 4.2MB, or bytes")
    if float(size) != int(size):
        raise ArgumentError(f"size: {size} is no number of bytes; {size}x?")
    return int(size)


def _positive(value: object, what: str, such: str) -> float:
    """A positive, finite number, as a number or in a text."""
    number = math.nan
    if isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError, TypeError):
            number = float(value)
    if number.is_integer() and not isinstance(value, float):
        number = int(number)  # plans say 4, and not 4.0
    if not (math.isfinite(number) and number > 0):
        raise ArgumentError(f"{what}: {value!r} is not a positive number; give {such}")
    return number


def check_target(*, bits: float | None = None, size: str | int | None = None) -> None:
    """Whether a target can be that of any model: a look at its text, before there is a model.

    Raises:
        ArgumentError: both are given, one is no positive number, or no smaller file can have it.

    >>> check_target(size="8")
    Traceback (most recent call last):
    taut.errors.ArgumentError: size: "8" is 8 bytes, and no file is so small; 8x?
    """
    if bits is not None and size is not None:
        raise ArgumentError("bits and size say the same thing; give either bits or size")
    if bits is not None:
        if not (isinstance(bits, int | float) and math.isfinite(bits) and bits > 0):
            raise ArgumentError(f"bits: {bits!r} is not a positive number")
        if bits > _MOST_BITS:
            raise ArgumentError(
                f"bits: {bits:g} is more than the {_MOST_BITS} bits of the widest weights; "
                "leave it out for a bit-exact file"
            )
    if size is not None:
        _check_size(str(size))


def _check_size(text: str) -> None:
    number, unit = _read_size(text)
    if unit == "" and number < _LEAST_BYTES:
        raise ArgumentError(
            f'size: "{text}" is {number:g} bytes, and no file is so small; {number:g}x?'
        )
    if (unit == "x" and number < 1) or (unit == "%" and number > 100):
        raise ArgumentError(
            f'size: "{text}" is more than the original; a ratio says how many times smaller the '
            "file is to be (8x), a percentage how much of it is left (12%)"
        )


def _size_bytes(text: str, original: int) -> int:
    number, unit = _read_size(text)
    if unit == "x":
        return int(original / number)
    if unit == "%":
        return int(original * number / 100)
    return int(number * _UNITS[unit])


def _read_size(text: str) -> tuple[float, str]:
    """A size's number and its unit, "x", "%" or one of bytes; raises ArgumentError if none."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ArgumentError(_advice(text))
    number, unit = float(match[1]), match[2].lower()
    if number > _MOST or unit not in ("x", "%", *_UNITS) or (unit == "x" and number == 0):
        raise ArgumentError(_advice(text))
    return number, unit


def _advice(text: str) -> str:
    return (
        f'size: "{text[:40]}" is none of a ratio (8x), a percentage (12%), a size (4.2MB, 512KiB)'
    )
