"""From a target to a scheme for every tensor; touches no weights."""

from laconic.plan.allocate import Found, meet_target
from laconic.plan.rules import quantisable
from laconic.plan.target import Target, parse_target

__all__ = ["Found", "Target", "meet_target", "parse_target", "quantisable"]
