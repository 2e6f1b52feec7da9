"""The verb `verify`."""

from taut.container.verify import verify

__all__ = ["verify"]
