"""Modules whose large weights stay compressed and are decoded for the layer that runs."""

from taut.loading.on_demand.attach import attach
from taut.loading.on_demand.handle import OnDemand, Stats

__all__ = ["OnDemand", "Stats", "attach"]
