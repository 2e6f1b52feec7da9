"""The verb `compress`."""

from taut.compression.compress import compress

__all__ = ["compress"]
