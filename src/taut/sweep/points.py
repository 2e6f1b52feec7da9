"""What a sweep tries: settings of the one dial, and grids of runtimes on all matrices."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from numbers import Real
from typing import Final, Literal

import numpy as np

from taut.compression.held_exact import exact_note
from taut.encoding.exact_only import ValueRange, why_exact
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.io.source import fixed_of
from taut.io.tensor_pieces import pieces_of
from taut.planning import parse_target, quantisable
from taut.scheme import Scheme, parse_scheme
from taut.transform.runtime import GRIDS

BITS: Final = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
"""Bits a weight that are tried if none are named."""

SCHEMES: Final = ("int8", "int4:g128", "int3")
"""Grids that are tried beside the dial if none are named."""

LOW: Final = 2.0
HIGH: Final = 8.0
_LEAST, _MOST = 0.1, 16.0  # bits a weight
_DIGITS: Final = 3  # of bits that are reckoned
_LARGEST: Final = 100  # points
_WORDS: Final = {"%": "pct", "+": "-", ":": "-", ",": "-"}


@dataclass(frozen=True)
class Setting:
    """One file to make: at so many `bits` a weight, of a `size`, or with all matrices on a grid."""

    name: str
    bits: float | None = None
    size: str | None = None
    scheme: Scheme | None = None

    @property
    def kind(self) -> Literal["dial", "grid"]:
        """Whether the one dial sets the steps, or a runtime's grid."""
        return "dial" if self.scheme is None else "grid"

    @property
    def calibrated(self) -> bool:
        """Whether calibration data serves it: for bit-exact values and fp16 there is no choice."""
        return self.scheme is None or self.scheme.kind in GRIDS

    @property
    def file_name(self) -> str:
        """The name of its file.

        >>> Setting("int4:g128,asym").file_name, Setting("2.5 bits").file_name
        ('int4-g128-asym.taut.safetensors', '2.5-bits.taut.safetensors')
        """
        plain = "".join(_WORDS.get(sign, sign) for sign in self.name)
        return re.sub(r"[^A-Za-z0-9.]+", "-", plain) + ".taut.safetensors"


def listed(given: object, what: str) -> list[object] | None:
    """One thing as a list of it, several as they are, None as it is.

    Raises:
        ArgumentError: it is a dict, or cannot be gone through.

    >>> listed("int8", "schemes"), listed((2, 3), "bits"), listed(None, "bits")
    (['int8'], [2, 3], None)
    """
    if given is None:
        return None
    if isinstance(given, (str, int, float, np.number, Scheme)):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, bytes)):
        return list(given)
    raise ArgumentError(f"{what}: a {type(given).__name__}; give a list")


def read_settings(
    *,
    bits: Sequence[float] | None = None,
    sizes: Sequence[str | int] | None = None,
    schemes: Sequence[str] | None = None,
    points: int | None = None,
    low: float | None = None,
    high: float | None = None,
) -> tuple[Setting, ...]:
    """What is to be tried: the dial at `bits` or `sizes`, or at `points` from `low` to `high`.

    `points` bits lie on a geometric ladder. None stands for the default, an empty list for none.

    >>> [one.name for one in read_settings(points=3, schemes=["int8"])]
    ['2 bits', '4 bits', '8 bits', 'int8']

    Raises:
        ArgumentError: something cannot be, is named twice, or asks for the same in two ways.
    """
    laddered = (points, low, high) != (None, None, None)
    if sum((bits is not None, sizes is not None, laddered)) > 1:
        raise ArgumentError("bits, sizes and points all set the dial; give one of them")
    if laddered:
        bits = _ladder(points, low, high)
    settings = [*_dials(bits, sizes), *map(_on_grid, SCHEMES if schemes is None else schemes)]
    _check_names(settings)
    return tuple(settings)


def _dials(bits: Sequence[float] | None, sizes: Sequence[str | int] | None) -> list[Setting]:
    """The settings of the dial that are asked for, or those by default."""
    if sizes is not None:
        return [Setting(str(size), size=_checked_size(size)) for size in sizes]
    return [_at_bits(one) for one in (BITS if bits is None else bits)]


def _at_bits(bits: object) -> Setting:
    number = _checked_bits(bits)
    return Setting(f"{number:g} bits", bits=number)


def _on_grid(text: str) -> Setting:
    scheme = _checked_scheme(text)
    return Setting(str(scheme), scheme=scheme)


def _check_names(settings: Sequence[Setting]) -> None:
    """Whether there are settings, and each has a name of its own."""
    if not settings:
        raise ArgumentError("frontier: there is nothing to try; give bits, sizes or schemes")
    twice = [name for name, count in Counter(one.name for one in settings).items() if count > 1]
    if twice:
        raise ArgumentError(f'frontier: "{twice[0]}" is named twice; once is enough')


def matrices_of(source: Source) -> tuple[TensorInfo, ...]:
    """The tensors that a sweep rounds.

    Raises:
        ArgumentError: there is none.
    """
    found = tuple(
        info
        for info in source.infos
        if info.name not in source.aliases
        and info.name not in fixed_of(source)
        and quantisable(info.dtype, info.shape)
    )
    if not found:
        raise ArgumentError(
            f"{source.identity}: has no float matrix of at least 1,024 values to round, so there "
            "is no trade-off to show"
        )
    return found


def roundable(
    source: Source, matrices: Sequence[TensorInfo], *, by_scale: bool = True
) -> tuple[tuple[TensorInfo, ...], list[str]]:
    """The matrices that can be rounded, and a note of those that cannot (`why_exact`).

    `by_scale` says that there is no data, so that steps go by a tensor's scale.

    Raises:
        ArgumentError: none can be.
    """
    whys = {
        info.name: why_exact(
            info,
            ValueRange.of_pieces(pieces_of(source, info)),
            Scheme("rd"),
            by_scale=by_scale,
        )
        for info in matrices
    }
    held = {name: why for name, why in whys.items() if why is not None}
    kept = tuple(info for info in matrices if info.name not in held)
    notes = [exact_note(held)] if held else []
    if not kept:
        raise ArgumentError(f"{source.identity}: there is no trade-off to show; {notes[0]}")
    return kept, notes


def uniform_plan(
    matrices: Iterable[TensorInfo], scheme: Scheme
) -> tuple[dict[str, Scheme], str | None]:
    """All matrices under one scheme, and a note of those that it does not quite fit.

    Where a group does not divide the columns, a row has one scale; where M of N:M does not, the
    mask is left out.
    """
    plan = {info.name: _fitted(info, scheme) for info in matrices}
    other = sum(one != scheme for one in plan.values())
    if not other:
        return plan, None
    what = "have no mask" if scheme.n_of_m else "have a scale a row"
    by = {str(n) for n in (scheme.group, scheme.n_of_m and scheme.n_of_m[1]) if n}
    return plan, (
        f"{scheme}: {other} of {len(plan)} matrices {what}, for their columns do not divide by "
        f"{' and '.join(sorted(by))}"
    )


def notes_of(matrices: Sequence[TensorInfo], settings: Iterable[Setting]) -> list[str]:
    """A note for each grid that does not quite fit all matrices."""
    schemes = (setting.scheme for setting in settings)
    found = (uniform_plan(matrices, scheme)[1] for scheme in schemes if scheme is not None)
    return [note for note in found if note is not None]


def _fitted(info: TensorInfo, scheme: Scheme) -> Scheme:
    columns = prod(info.shape[1:])
    if scheme.group_size is not None and columns % scheme.group_size:
        scheme = replace(scheme, group_size=None)
    if scheme.n_of_m is not None and columns % scheme.n_of_m[1]:
        scheme = replace(scheme, n_of_m=None)
    return scheme


def _ladder(points: int | None, low: float | None, high: float | None) -> list[float]:
    """So many bits, each as many times the one before; what is not given is as by default."""
    points = len(BITS) if points is None else points
    low, high = LOW if low is None else low, HIGH if high is None else high
    if not 2 <= points <= _LARGEST:
        raise ArgumentError(f"points: {points}; a ladder has 2 to {_LARGEST}")
    if not _checked_bits(low) < _checked_bits(high):
        raise ArgumentError(f"points: from {low:g} to {high:g} bits is no way up")
    rungs = [low * (high / low) ** (number / (points - 1)) for number in range(points)]
    return [float(f"{rung:.{_DIGITS}g}") for rung in rungs]


def _checked_bits(bits: object) -> float:
    number = float(bits) if not isinstance(bits, bool) and isinstance(bits, Real) else math.nan
    if not _LEAST <= number <= _MOST:
        raise ArgumentError(f"bits: {bits!r} is no number from {_LEAST:g} to {_MOST:g} a weight")
    return number


def _checked_size(size: str | int) -> str:
    parse_target(bits=None, size=size, original=2**62, parameters=1)  # raises: no size
    return str(size)


def _checked_scheme(text: str) -> Scheme:
    scheme = parse_scheme(text)
    if scheme.kind == "rd":
        raise ArgumentError(f'schemes: "{text}" is the dial itself; give its bits (--bits)')
    if scheme.channels is not None:
        raise ArgumentError(f'schemes: "{text}" wants training; compress with a plan instead')
    return scheme
