"""From what a caller asks to what is written: exact, rounded to a size, calibrated or trained."""

from taut.compression.compress import carry_out
from taut.compression.request import Call, CompressRequest
from taut.compression.result import Result

__all__ = ["Call", "CompressRequest", "Result", "carry_out"]
