"""From a target to a scheme for every tensor; touches no weights."""

from importlib import import_module
from typing import TYPE_CHECKING

from laconic.plan.allocate import Found, meet_target
from laconic.plan.match import Resolved, resolve
from laconic.plan.rules import quantisable
from laconic.plan.target import Target, parse_target

if TYPE_CHECKING:
    from laconic.plan.plan import Goal, Plan, Rule, dump_plan, load_plan

__all__ = [
    "Found",
    "Goal",
    "Plan",
    "Resolved",
    "Rule",
    "Target",
    "dump_plan",
    "load_plan",
    "meet_target",
    "parse_target",
    "quantisable",
    "resolve",
]

# The plan file takes pydantic and PyYAML, a fifth of a second that most work does not need.
_LATE = ("Goal", "Plan", "Rule", "dump_plan", "load_plan")


def __getattr__(name: str) -> object:
    """Import the plan file's reader when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("laconic.plan.plan"), name)
