"""The scheme grammar: one short text, for API, plans, command line and file, on one tensor.

    scheme    part ("+" part)*           each kind of part at most once, in any order
    values    keep | lossless | rd[:BITS] | fp16 | fp8 | int8[,tensor] | int4[:gSIZE][,asym]
              | nvfp4 | mxfp4 | int3 | int2 | ternary | binary | codebookENTRIES
    mask      PERCENT% | N:M             fraction of zeros | N nonzero in each M
    channels  channels:PERCENT%          fraction of whole channels removed

Without a values part what the sparsity leaves is stored losslessly: `50%` is `50%+lossless`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypedDict

from taut.errors import ArgumentError

__all__ = ["KINDS", "Scheme", "parse_scheme", "recorded_scheme"]

_PLAIN: Final = (
    *("keep", "lossless", "rd", "fp16", "fp8", "int8", "int4", "int3", "int2"),
    *("nvfp4", "mxfp4", "ternary", "binary"),
)
KINDS: Final = (*_PLAIN, "codebook")
_WORDS: Final = (*_PLAIN, "codebook16", "channels:30%", "50%", "2:4")
_NUMBER: Final = r"([0-9]{1,9}(?:\.[0-9]{1,30})?)"
_COUNT: Final = r"([0-9]{1,9})"
_GROUPS: Final = {"nvfp4": 16, "mxfp4": 32}
_TAKES: Final = {
    "rd": "its bits, as in rd:2.5",
    "int8": "tensor, as in int8,tensor: one scale for all of it",
    "int4": "a group size and asym, as in int4:g64,asym",
    "codebook": "its number of entries, as in codebook16",
    "channels": "a percentage, as in channels:30%",
}


@dataclass(frozen=True)
class Scheme:
    """How one tensor is stored; raises ArgumentError for what no text could say.

    `kind` is one of KINDS; `bits` (per weight) belongs to `rd`, `group_size` and `asymmetric` to
    `int4`, `per_tensor` (one scale, where other grids have one a row) to `int8`, `entries` to
    `codebook`. `sparsity` and `channels` are fractions in (0, 1),
    `n_of_m` = (N, M) keeps N nonzero in each M.

    >>> str(Scheme("int4", group_size=64, n_of_m=(2, 4)))
    '2:4+int4:g64'
    """

    kind: str = "lossless"
    bits: float | None = None
    group_size: int | None = None
    asymmetric: bool = False
    per_tensor: bool = False
    entries: int | None = None
    sparsity: float | None = None
    n_of_m: tuple[int, int] | None = None
    channels: float | None = None

    def __post_init__(self) -> None:
        """Hold every rule of the grammar that is not spelling."""
        _check_values(self)
        _check_sparsity(self)

    @property
    def group(self) -> int | None:
        """Weights that share a scale, said or as the kind has them; None: a row, or a tensor."""
        return self.group_size if self.group_size is not None else _GROUPS.get(self.kind)

    def __str__(self) -> str:
        """Text from which `parse_scheme` makes an equal scheme; equal schemes have equal texts."""
        sparse = []
        if self.channels is not None:
            sparse.append(f"channels:{_percent(self.channels)}")
        if self.n_of_m is not None:
            sparse.append(f"{self.n_of_m[0]}:{self.n_of_m[1]}")
        if self.sparsity is not None:
            sparse.append(_percent(self.sparsity))
        values = [] if sparse and self.kind == "lossless" else [_values(self)]
        return "+".join(sparse + values)


def parse_scheme(text: str) -> Scheme:
    """Read a scheme; raises ArgumentError which quotes the text, the part and the nearest word.

    >>> parse_scheme("rd:2.5").bits
    2.5
    """
    found: dict[str, int] = {}
    fields = _Fields()
    column = 1
    for part in text.split("+"):
        where = f'scheme "{text}", column {column}'
        slot, read = _part(part, where)
        try:
            Scheme(**read)
        except ArgumentError as error:
            raise ArgumentError(f"{where}: {error}") from None
        if slot in found:
            raise ArgumentError(f'{where}: "{part}" is a second {slot} part; keep one of the two')
        found[slot] = column
        fields.update(read)
        column += len(part) + 1
    try:
        return Scheme(**fields)
    except ArgumentError as error:
        raise ArgumentError(f'scheme "{text}": {error}') from None


def recorded_scheme(text: str) -> Scheme:
    """The scheme that a file says of a tensor; `rd`, on no grid, where it is none that is known.

    A reader needs none (docs/format.md), so that a later version's files can be read and exported.

    >>> recorded_scheme("int4:g64").kind, recorded_scheme("a later one").kind
    ('int4', 'rd')
    """
    try:
        return parse_scheme(text)
    except ArgumentError:
        return Scheme(kind="rd")


class _Fields(TypedDict, total=False):
    kind: str
    bits: float
    group_size: int
    asymmetric: bool
    per_tensor: bool
    entries: int
    sparsity: float
    n_of_m: tuple[int, int]
    channels: float


def _part(part: str, where: str) -> tuple[str, _Fields]:
    """One part of a scheme as the slot it fills and the fields it sets."""
    if part in _PLAIN:
        return "values", {"kind": part}
    if match := _match(f"rd:{_NUMBER}", part):
        return "values", {"kind": "rd", "bits": float(match[1])}
    if part == "int8,tensor":
        return "values", {"kind": "int8", "per_tensor": True}
    if match := _match(rf"int4(?::g{_COUNT})?(,asym)?", part):
        grid: _Fields = {"kind": "int4", "asymmetric": bool(match[2])}
        if match[1]:
            grid["group_size"] = int(match[1])
        return "values", grid
    if match := _match(f"codebook{_COUNT}", part):
        return "values", {"kind": "codebook", "entries": int(match[1])}
    if match := _match(f"{_NUMBER}%", part):
        return "mask", {"sparsity": _fraction(match[1])}
    if match := _match(f"{_COUNT}:{_COUNT}", part):
        return "mask", {"n_of_m": (int(match[1]), int(match[2]))}
    if match := _match(f"channels:{_NUMBER}%", part):
        return "channels", {"channels": _fraction(match[1])}
    raise ArgumentError(f"{where}: {_complaint(part)}")


def _match(pattern: str, part: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, part, flags=re.ASCII)


def _complaint(part: str) -> str:
    """What is wrong with a part that has no meaning, and what was probably meant."""
    word, *options = re.split("[:,]", part)
    if word in _TAKES:
        return f'"{part}": {word} takes {_TAKES[word]}'
    if word in _PLAIN and options:
        return f'"{part}": {word} takes no options'
    # Not at the top: only a mistake pays for this import.
    from difflib import get_close_matches

    nearest = get_close_matches(part.strip().lower(), _WORDS, n=1, cutoff=0.0)[0]
    return f'unknown part "{part}"; nearest: {nearest}; all: {", ".join(_WORDS)}'


def _check_values(scheme: Scheme) -> None:
    if scheme.kind not in KINDS:
        raise ArgumentError(f'unknown kind "{scheme.kind}"; all: {", ".join(KINDS)}')
    _check_options(scheme)
    if scheme.bits is not None and not 0.01 <= scheme.bits <= 32:
        raise ArgumentError(f"rd takes 0.01 to 32 bits per weight, not {scheme.bits:g}")
    if scheme.group_size is not None and scheme.group_size < 2:
        raise ArgumentError(f"a group holds at least 2 weights, not {scheme.group_size}")
    if scheme.kind == "codebook" and not 2 <= (scheme.entries or 0) <= 65536:
        raise ArgumentError(f"a codebook has 2 to 65536 entries, not {scheme.entries}")


def _check_options(scheme: Scheme) -> None:
    """Each option belongs to one kind of values."""
    for owner, name, given in (
        ("rd", "bits", scheme.bits is not None),
        ("int4", "group_size", scheme.group_size is not None),
        ("int4", "asymmetric", scheme.asymmetric),
        ("int8", "per_tensor", scheme.per_tensor),
        ("codebook", "entries", scheme.entries is not None),
    ):
        if given and scheme.kind != owner:
            raise ArgumentError(f"{name} belongs to {owner}, not to {scheme.kind}")


def _check_sparsity(scheme: Scheme) -> None:
    for name, fraction in (("sparsity", scheme.sparsity), ("channels", scheme.channels)):
        if fraction is not None and not 1e-6 <= fraction <= 1 - 1e-6:
            raise ArgumentError(f"{name} lies between 0% and 100%, not at {fraction:.7%}")
    if scheme.n_of_m is not None and not 1 <= scheme.n_of_m[0] < scheme.n_of_m[1]:
        kept, group = scheme.n_of_m
        raise ArgumentError(f"N:M keeps N of M weights with 1 <= N < M, not {kept}:{group}")
    if scheme.sparsity is not None and scheme.n_of_m is not None:
        raise ArgumentError("a mask is either a percentage or N:M, not both")
    sparse = (scheme.sparsity, scheme.n_of_m, scheme.channels) != (None, None, None)
    if scheme.kind == "keep" and sparse:
        raise ArgumentError("keep leaves a tensor as it is, so it takes no sparsity")


def _values(scheme: Scheme) -> str:
    if scheme.bits is not None:
        return f"rd:{_decimal(Decimal(repr(float(scheme.bits))))}"
    group = "" if scheme.group_size is None else f":g{scheme.group_size}"
    entries = "" if scheme.entries is None else str(scheme.entries)
    options = ",asym" * scheme.asymmetric + ",tensor" * scheme.per_tensor
    return scheme.kind + entries + group + options


# Decimals, so that 30% is the fraction 0.3 and 0.3 is 30%, exactly and for every float.
def _fraction(percent: str) -> float:
    return float(Decimal(percent) / 100)


def _percent(fraction: float) -> str:
    return f"{_decimal(Decimal(repr(fraction)) * 100)}%"


def _decimal(number: Decimal) -> str:
    return format(number.normalize(), "f")
