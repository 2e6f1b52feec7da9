"""The verb `info`."""

from taut.container.info import info

__all__ = ["info"]
