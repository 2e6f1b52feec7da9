"""Models as lazy, ordered sequences of named tensors: files, folders, modules, dicts."""

from taut.io.dtypes import DTYPE_BITS, SAFETENSORS_DTYPES, dtype_name, storage, tensor_nbytes
from taut.io.header import Header, HeaderTensor, read_header
from taut.io.source import Source, SourceFile, TensorInfo, open_source
from taut.io.stamp import check_unchanged

__all__ = [
    "DTYPE_BITS",
    "SAFETENSORS_DTYPES",
    "Header",
    "HeaderTensor",
    "Source",
    "SourceFile",
    "TensorInfo",
    "check_unchanged",
    "dtype_name",
    "open_source",
    "read_header",
    "storage",
    "tensor_nbytes",
]
