"""From a target to a scheme for every tensor; touches no weights."""

from importlib import import_module
from typing import TYPE_CHECKING

from laconic.plan.allocate import Found, meet_target
from laconic.plan.match import Resolved, resolve
from laconic.plan.preset import find_preset, preset_names, preset_text
from laconic.plan.rules import quantisable
from laconic.plan.target import Target, parse_target

if TYPE_CHECKING:
    from laconic.plan.plan import Goal, Plan, Rule, dump_plan, load_plan
    from laconic.plan.recipe import Recipe
    from laconic.plan.steps import Step

__all__ = [
    "Found",
    "Goal",
    "Plan",
    "Recipe",
    "Resolved",
    "Rule",
    "Step",
    "Target",
    "dump_plan",
    "find_preset",
    "load_plan",
    "meet_target",
    "parse_target",
    "preset_names",
    "preset_text",
    "quantisable",
    "resolve",
]

# The plan file takes pydantic and PyYAML, a fifth of a second that most work does not need.
_LATE = {
    **dict.fromkeys(("Goal", "Plan", "Rule", "dump_plan", "load_plan"), "laconic.plan.plan"),
    "Recipe": "laconic.plan.recipe",
    "Step": "laconic.plan.steps",
}


def __getattr__(name: str) -> object:
    """Import the plan file's reader when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
