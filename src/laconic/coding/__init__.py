"""Arrays of integers and floats to bytes and back: the floor that knows probabilities only."""

from laconic.coding.coder import (
    CodedArray,
    Effort,
    Job,
    decode,
    decoded_nbytes,
    encode_indices,
    encode_lossless,
    estimate_indices,
    row_length,
)

__all__ = [
    "CodedArray",
    "Effort",
    "Job",
    "decode",
    "decoded_nbytes",
    "encode_indices",
    "encode_lossless",
    "estimate_indices",
    "row_length",
]
