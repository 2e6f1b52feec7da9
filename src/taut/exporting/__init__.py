"""Models for other runtimes, each run against the original before it is called done."""

from taut.exporting.request import ExportRequest, format_of
from taut.exporting.result import Check, Export

__all__ = ["Check", "Export", "ExportRequest", "format_of"]
