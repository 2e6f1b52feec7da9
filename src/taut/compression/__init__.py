"""From what a caller asks to what is written: exact, rounded to a size, calibrated or trained."""

from taut.compression.compress import Result, carry_out
from taut.compression.request import Call, CompressRequest

__all__ = ["Call", "CompressRequest", "Result", "carry_out"]
