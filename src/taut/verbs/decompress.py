"""The verb `decompress`."""

from taut.loading.restore import decompress

__all__ = ["decompress"]
