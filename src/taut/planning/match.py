"""Which rule of a plan decides which tensor: ordered rules, the first that fits wins.

Surprise: a rule passes by the tensors that its scheme is not for, so `*` with `rd` takes the
matrices and leaves biases, norms and integers to later rules. A rule that names one tensor in
full means that tensor, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.io.names import MAX_NAMES
from taut.planning.divides import divides
from taut.planning.pattern import REGEX, is_name, matching
from taut.planning.rules import FLOATS, SMALLEST, quantisable
from taut.scheme import Scheme

if TYPE_CHECKING:
    from taut.planning.plan import Plan, Rule

_EXACT: Final = ("keep", "lossless")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a plan says of one tensor: the `rule` that decides counts from 1."""

    scheme: Scheme
    weight: float
    rule: int


def resolve(
    plan: Plan, infos: Sequence[TensorInfo], aliases: Mapping[str, str]
) -> dict[str, Resolved | None]:
    """What `plan` says of every tensor that is stored; None where no rule takes it.

    Tied tensors (`aliases`, name to the name that carries the data) are not stored themselves.

    Raises:
        ArgumentError: a rule takes no tensor: none has such a name, none is fit for the scheme,
            or earlier rules take them all. The message names the nearest tensors.
    """
    stored = {info.name: info for info in infos if info.name not in aliases}
    found: dict[str, Resolved | None] = dict.fromkeys(stored)
    for number, rule in enumerate(plan.rules, 1):
        free = [name for name in _fit(rule, stored) if found[name] is None]
        if not free:
            why = _why_idle(rule, stored, aliases) or _shadowed(plan, rule, stored, found)
            raise ArgumentError(f'plan: rule {number} ("{rule.match}") {why}')
        for name in free:
            found[name] = Resolved(rule.scheme, rule.weight, number)
    return found


def _fit(rule: Rule, stored: Mapping[str, TensorInfo]) -> list[str]:
    """The tensors that a rule is for."""
    return [name for name in matching(rule.match, stored) if _is_fit(rule, stored[name])]


def _is_fit(rule: Rule, info: TensorInfo) -> bool:
    """Whether the rule's scheme is for such a tensor; pruning is, like rd, for matrices.

    Groups, and an M of N:M, must divide its columns.
    """
    sparse = str(rule.scheme) not in _EXACT and rule.scheme.kind == "lossless"
    if is_name(rule.match) or (rule.scheme.kind in _EXACT and not sparse):
        return True
    if rule.scheme.kind == "fp16":
        return info.dtype in FLOATS
    return quantisable(info.dtype, info.shape) and divides(rule.scheme, info.shape)


def _why_idle(rule: Rule, stored: Mapping[str, TensorInfo], aliases: Mapping[str, str]) -> str:
    """Why a rule is for no tensor; "" if it is for some."""
    named = matching(rule.match, stored)
    if not named:
        return _unmatched(rule, stored, aliases)
    return "" if _fit(rule, stored) else _unfit(rule, [stored[name] for name in named])


def _unmatched(rule: Rule, stored: Mapping[str, TensorInfo], aliases: Mapping[str, str]) -> str:
    if tied := matching(rule.match, aliases):
        return (
            f'matches only tied tensors: "{tied[0]}" is tied to "{aliases[tied[0]]}"; '
            "give the scheme there"
        )
    plain = re.sub(r"[*?\[\]\\^$()|+]", "", rule.match.removeprefix(REGEX))
    near = get_close_matches(plain, list(stored)[:MAX_NAMES], n=3, cutoff=0.0)
    return "matches no tensor" + (f"; nearest: {', '.join(near)}" if near else "")


def _unfit(rule: Rule, infos: Sequence[TensorInfo]) -> str:
    """Why a scheme is for none of the tensors that a rule matches."""
    matrices = [info for info in infos if quantisable(info.dtype, info.shape)]
    if matrices and rule.scheme.kind != "fp16":  # so it is their columns
        first = matrices[0]
        others = "" if len(matrices) == 1 else f", nor those of {len(matrices) - 1} more"
        return (
            f"matches no tensor that scheme {rule.scheme} is for: it does not divide the "
            f'{prod(first.shape[1:])} columns of "{first.name}"{others}; give groups that do, or '
            "another scheme"
        )
    info, count = infos[0], len(infos)
    wanted = "floats" if rule.scheme.kind == "fp16" else f"float matrices of {SMALLEST:,} values"
    others = "" if count == 1 else f", and {count - 1} more"
    return (
        f'matches no tensor that scheme {rule.scheme} is for ({wanted}): "{info.name}" is '
        f"{info.dtype} {list(info.shape)}{others}; name a tensor in full if it is meant"
    )


def _shadowed(
    plan: Plan,
    rule: Rule,
    stored: Mapping[str, TensorInfo],
    found: Mapping[str, Resolved | None],
) -> str:
    """That earlier rules took all tensors that a rule is for."""
    decided = [found[name] for name in _fit(rule, stored)]
    earlier, count = sorted({one.rule for one in decided if one is not None}), len(decided)
    which = ", ".join(f'{number} ("{plan.rules[number - 1].match}")' for number in earlier[:3])
    what = "its one tensor" if count == 1 else f"all its {count} tensors"
    rules = "rule" if len(earlier) == 1 else "rules"
    return f"decides nothing: {what} went to {rules} {which} before; move it up, or take it out"
