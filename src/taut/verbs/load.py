"""The verb `load`."""

from taut.loading.load import load

__all__ = ["load"]
