"""From a target to a scheme for every tensor; touches no weights."""

from importlib import import_module
from typing import TYPE_CHECKING

from taut.planning.allocate import Found, meet_target
from taut.planning.match import Resolved, resolve
from taut.planning.preset import find_preset, preset_names, preset_text
from taut.planning.rules import quantisable
from taut.planning.target import Target, parse_target

if TYPE_CHECKING:
    from taut.planning.default_schemes import free_schemes
    from taut.planning.plan import Goal, Plan, Rule, dump_plan, load_plan
    from taut.planning.recipe import Recipe
    from taut.planning.recipe_steps import Step

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
    "free_schemes",
    "load_plan",
    "meet_target",
    "parse_target",
    "preset_names",
    "preset_text",
    "quantisable",
    "resolve",
]

# The plan file takes pydantic and PyYAML, a fifth of a second that most work does not need, and
# weights take numpy.
_LATE = {
    "free_schemes": "taut.planning.default_schemes",
    **dict.fromkeys(("Goal", "Plan", "Rule", "dump_plan", "load_plan"), "taut.planning.plan"),
    "Recipe": "taut.planning.recipe",
    "Step": "taut.planning.recipe_steps",
}


def __getattr__(name: str) -> object:
    """Import what takes other libraries when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
