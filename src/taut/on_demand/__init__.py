"""Modules whose large weights stay compressed and are decoded for the layer that runs."""

from taut.on_demand.attach import attach
from taut.on_demand.handle import OnDemand, Stats

__all__ = ["OnDemand", "Stats", "attach"]
