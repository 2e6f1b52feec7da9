"""From what a caller asks to what is written: exact, rounded to a size, calibrated or trained."""

from taut.compression.compress import Result, compress

__all__ = ["Result", "compress"]
