"""What a caller may give as a plan: a file, a preset, a dict, or one scheme for all matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from taut.errors import ArgumentError
from taut.planning.pattern import is_name
from taut.scheme import Scheme, parse_scheme

if TYPE_CHECKING:
    from taut.planning.plan import Plan

PlanSpec: TypeAlias = "Plan | Mapping[str, object] | str | Path"
"""A `Plan`, a dict, a plan's file, or the name of a preset.

A dict is a plan as its YAML has it ({"target": {"size": "12x"}, "rules": [...]}), or says of names
and patterns of tensors how they are stored ({"lm_head.*": "int8", "*": "int4:g64"}).
"""

_OWN = frozenset({"rules", "target", "steps"})  # at least one of these is in a plan


def as_plan(
    plan: object, scheme: object = None
) -> Plan | Mapping[str, Scheme | str] | str | Path | None:
    """The plan that a call means: rules, schemes by full names, or a file of them.

    Of a dict with patterns names go first, then the patterns as they stand: the first that fits
    a tensor decides. `scheme` is for all tensors that it suits.

    Raises:
        ArgumentError: both are given, a scheme has no meaning, or it is no plan at all.

    >>> as_plan({"*": "int4", "head": "int8"}).rules[0].match
    'head'
    >>> as_plan(None, "int9")
    Traceback (most recent call last):
    taut.errors.ArgumentError: scheme "int9", column 1: unknown part "int9"; nearest: int8; ...
    """
    if plan is None and scheme is None:
        return None
    from taut.planning.plan import Plan  # takes pydantic, which most work does not need

    if scheme is not None:
        if plan is not None:
            raise ArgumentError("plan and scheme both say how tensors are stored; give one of them")
        return Plan.model_validate({"rules": [{"match": "*", "scheme": _scheme(scheme)}]})
    if isinstance(plan, (Plan, str, Path)):
        return plan
    if not isinstance(plan, Mapping):
        raise ArgumentError(
            f"plan: a {type(plan).__name__}; give a dict of tensor to scheme, a Plan, its file, or "
            "the name of a preset"
        )
    return _of_mapping(plan)


def _of_mapping(plan: Mapping[str, object]) -> Plan | Mapping[str, Scheme | str]:
    from taut.planning.plan import Plan

    if _OWN & plan.keys() and not any(_is_scheme(one) for one in plan.values()):
        return Plan.model_validate(dict(plan))
    for name in plan:
        if not isinstance(name, str):
            raise ArgumentError(f"plan: {name!r} is not the name of a tensor")
    schemes = {name: _scheme(one, name) for name, one in plan.items()}
    if all(map(is_name, schemes)):
        return schemes
    ordered = sorted(schemes, key=lambda name: not is_name(name))
    return Plan.model_validate(
        {"rules": [{"match": name, "scheme": schemes[name]} for name in ordered]}
    )


def _is_scheme(value: object) -> bool:
    return isinstance(value, (str, Scheme))


def _scheme(value: object, name: str = "") -> Scheme:
    if isinstance(value, Scheme):
        return value
    if not isinstance(value, str):
        of = f'plan: "{name}": ' if name else "scheme: "
        raise ArgumentError(f'{of}{value!r} is no scheme; give a text as "int8" or "lossless"')
    return parse_scheme(value.strip())
