"""Checkpoints of low-bit weights: which tensors are such, and the floats that they stand for."""

from taut.io.quantized.declared import Declared, declared_of, read_declared
from taut.io.quantized.floats import FloatSource, are_floats, as_floats, floats_in, remembered
from taut.io.quantized.four_bit_floats import from_four_bits
from taut.io.quantized.quantized_weight import QuantizedWeight, Tensors, infos_as_floats
from taut.io.quantized.recognise import recognise

__all__ = [
    "Declared",
    "FloatSource",
    "QuantizedWeight",
    "Tensors",
    "are_floats",
    "as_floats",
    "declared_of",
    "floats_in",
    "from_four_bits",
    "infos_as_floats",
    "read_declared",
    "recognise",
    "remembered",
]
