"""From what a caller asks to what is written: exact, rounded to a size, calibrated or trained."""

from taut.compression.compress import carry_out
from taut.compression.foreseen import Result
from taut.compression.request import Call, CompressRequest

__all__ = ["Call", "CompressRequest", "Result", "carry_out"]
