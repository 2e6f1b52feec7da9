"""Arrays of integers and floats to bytes and back: the floor that knows probabilities only."""

from taut.coding.adaptive import encode_adaptive
from taut.coding.coder import (
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
from taut.coding.matrix import (
    LARGEST_INDEX,
    NEXT_STATE,
    NO_EXPONENT,
    encode_matrix,
    estimate_matrix,
    exponent_scale,
    matrix_levels,
)
from taut.coding.records import (
    GROUP,
    Field,
    Layout,
    Piece,
    RecordStream,
    Term,
    encode_records,
)
from taut.coding.streams import (
    Chunked,
    LosslessStream,
    MatrixStream,
    chunked,
    decode_chunks,
    streams,
)

__all__ = [
    "GROUP",
    "LARGEST_INDEX",
    "NEXT_STATE",
    "NO_EXPONENT",
    "Chunked",
    "CodedArray",
    "Effort",
    "Field",
    "Job",
    "Layout",
    "LosslessStream",
    "MatrixStream",
    "Piece",
    "RecordStream",
    "Term",
    "chunked",
    "decode",
    "decode_chunks",
    "decoded_nbytes",
    "encode_adaptive",
    "encode_indices",
    "encode_lossless",
    "encode_matrix",
    "encode_records",
    "estimate_indices",
    "estimate_matrix",
    "exponent_scale",
    "matrix_levels",
    "row_length",
    "streams",
]
