"""Modules whose large weights stay compressed and are decoded for the layer that runs."""

from laconic.on_demand.attach import attach
from laconic.on_demand.handle import OnDemand, Stats

__all__ = ["OnDemand", "Stats", "attach"]
