"""What is said of the matrices that a rule's pattern passed by, since its groups do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taut.io import TensorInfo
from taut.planning.divides import divides, pieces_of
from taut.planning.pattern import is_name, matching
from taut.planning.rules import quantisable
from taut.scheme import Scheme
from taut.transform.grid import matrix_shape

if TYPE_CHECKING:
    from taut.planning.match import Resolved
    from taut.planning.plan import Plan, Rule


def passed_notes(
    plan: Plan, infos: Sequence[TensorInfo], found: Mapping[str, Resolved | None]
) -> list[str]:
    """A note for each rule whose pattern passed by matrices that its scheme does not divide.

    `found` is what the plan says of the tensors that are stored.
    """
    shapes = {info.name: info for info in infos if info.name in found}
    notes = []
    for number, rule in enumerate(plan.rules, 1):
        if is_name(rule.match):  # plans with a rule for each tensor take one look each
            continue
        free = [name for name in shapes if _is_free(found[name], number)]
        names = _passed(rule, {name: shapes[name] for name in free})
        if names:
            notes.append(passed_note(f'rule {number} ("{rule.match}")', rule.scheme, names, shapes))
    return notes


def _passed(rule: Rule, infos: Mapping[str, TensorInfo]) -> list[str]:
    """The matrices that a rule's pattern is for and its scheme does not divide."""
    if not pieces_of(rule.scheme):
        return []
    return [name for name in matching(rule.match, infos) if _is_odd(infos[name], rule.scheme)]


def _is_free(taken: Resolved | None, number: int) -> bool:
    """Whether no rule before this one took a tensor."""
    return taken is None or taken.rule > number


def _is_odd(info: TensorInfo, scheme: Scheme) -> bool:
    """Whether a tensor is a matrix that the scheme does not divide."""
    return quantisable(info.dtype, info.shape) and not divides(scheme, info.shape)


def passed_note(
    who: str, scheme: Scheme, names: Sequence[str], infos: Mapping[str, TensorInfo]
) -> str:
    """What is said of matrices that were passed by, the first of them by its name."""
    first, columns = names[0], matrix_shape(infos[names[0]].shape)[1]
    count = "1 matrix" if len(names) == 1 else f"{len(names)} matrices"
    return (
        f'plan: {who} passed by {count}, whose columns {scheme} does not divide ("{first}" has '
        f"{columns}): what no other rule takes is as if there were no plan"
    )
