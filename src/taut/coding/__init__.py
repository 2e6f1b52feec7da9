"""Arrays of integers and floats to bytes and back: the floor that knows probabilities only."""

from taut.coding.adaptive import encode_adaptive
from taut.coding.byte_integers import ByteIntegers
from taut.coding.chosen_rows import ChosenRows
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
from taut.coding.delta import DeltaStream, encode_delta
from taut.coding.index_streams import (
    AdaptiveStream,
    IndexStream,
    IndexValues,
    MatrixStream,
    UniformStream,
)
from taut.coding.matrix import (
    LARGEST_INDEX,
    MOST_BASIS_COLUMNS,
    NEXT_STATE,
    NO_EXPONENT,
    combined,
    encode_matrix,
    estimate_matrix,
    exponent_scale,
    matrix_levels,
)
from taut.coding.records import (
    GROUP,
    BitPiece,
    ContextTerm,
    RecordField,
    RecordLayout,
    RecordStream,
    encode_records,
)
from taut.coding.streams import (
    Chunked,
    LosslessStream,
    chunked,
    decode_chunks,
    streams,
)

__all__ = [
    "GROUP",
    "LARGEST_INDEX",
    "MOST_BASIS_COLUMNS",
    "NEXT_STATE",
    "NO_EXPONENT",
    "AdaptiveStream",
    "BitPiece",
    "ByteIntegers",
    "ChosenRows",
    "Chunked",
    "CodedArray",
    "ContextTerm",
    "DeltaStream",
    "Effort",
    "IndexStream",
    "IndexValues",
    "Job",
    "LosslessStream",
    "MatrixStream",
    "RecordField",
    "RecordLayout",
    "RecordStream",
    "UniformStream",
    "chunked",
    "combined",
    "decode",
    "decode_chunks",
    "decoded_nbytes",
    "encode_adaptive",
    "encode_delta",
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
