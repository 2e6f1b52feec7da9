"""GGUF types in files that the `gguf` package writes, as llama.cpp would have quantised them.

The old types are quantised by the `gguf` package itself. The K and I types are by llama.cpp's own
code, which the package `xllamacpp` holds, with an importance matrix: the sums of squares of what
enters each column, over the calibration data. Rows that a type's block does not divide take the
type that llama.cpp falls back to. TQ1_0 and TQ2_0 are left out: they are for weights trained to be
ternary. Rows that 32 does not divide stay float16, vectors float32, as llama.cpp keeps them;
kernels are folded into matrices first.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.tensors import Array
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_TYPES = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4")
_FALLBACK = {  # where rows are no multiple of 256
    "Q4_K": "Q5_0",
    "Q3_K": "IQ4_NL",
    "IQ3_S": "IQ4_NL",
    "IQ2_S": "IQ4_NL",
    "IQ4_NL": "IQ4_NL",
}
_GROUP, _SUPER = 32, 256

Quantize = Callable[[Array, Any, "Array | None"], Array]


def peers() -> list[Peer]:
    """Return the types; ImportError without the package `gguf`, or with it alone."""
    importlib.import_module("gguf")
    plain = [Peer(f"GGUF {kind}", "GGUF", partial(code, kind, _by_package)) for kind in _TYPES]
    quantize = partial(_by_llama, _library())
    return plain + [
        Peer(f"GGUF {kind}, imatrix", "GGUF, imatrix", partial(code, kind, quantize), True)
        for kind in _FALLBACK
    ]


def code(kind: str, quantize: Quantize, subject: Subject) -> Coded:
    """Write a GGUF file of one type and count it."""
    gguf = importlib.import_module("gguf")
    importance = _importance(subject) if kind in _FALLBACK else {}
    decoded: dict[str, Array] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = gguf.GGUFWriter(path, "bench")
        for name, values in subject.weights.items():
            matrix = as_matrix(values) if is_matrix(values) else values
            chosen = gguf.GGMLQuantizationType[_type_of(kind, values)]
            packed = quantize(np.ascontiguousarray(matrix), chosen, importance.get(name))
            writer.add_tensor(name, packed, raw_dtype=chosen)
            back = gguf.quants.dequantize(packed, chosen)
            decoded[name] = back.reshape(values.shape).astype(np.float32)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return Coded(decoded, path.stat().st_size)


def _type_of(kind: str, values: Array) -> str:
    if not is_matrix(values):
        return "F32"
    columns = as_matrix(values).shape[1]
    if columns % _GROUP:
        return "F16"
    return kind if columns % _SUPER == 0 else _FALLBACK.get(kind, kind)


def _importance(subject: Subject) -> Mapping[str, Array]:
    """Shares of the squares that enter each column, by the weight's name, in the original."""
    from bench.frontier.walk import Walk

    walk, found = Walk(subject.module(), subject.calibration), {}
    for block in subject.blocks():
        for layer, second in walk.second_moments(block).items():
            found[f"{layer}.weight"] = (np.diag(second) / np.trace(second)).astype(np.float32)
    return found


def _by_package(matrix: Array, chosen: Any, importance: Array | None) -> Array:
    packed: Array = importlib.import_module("gguf").quants.quantize(matrix, chosen)
    return packed


def _by_llama(library: Any, matrix: Array, chosen: Any, importance: Array | None) -> Array:
    """Quantise rows by `ggml_quantize_chunk`; without importance every column counts as much."""
    gguf = importlib.import_module("gguf")
    if chosen.name in {"F32", "F16"}:
        return _by_package(matrix, chosen, None)
    rows, columns = matrix.shape
    weights = np.ones(columns, np.float32) if importance is None else importance
    assert matrix.dtype == weights.dtype == np.float32 and weights.flags.c_contiguous
    out = np.empty((rows, gguf.quants.quant_shape_to_byte_shape(matrix.shape, chosen)[1]), np.uint8)
    library.ggml_quantize_chunk(
        int(chosen), _address(matrix), _address(out), ctypes.c_int64(0), ctypes.c_int64(rows),
        ctypes.c_int64(columns), _address(weights),
    )  # fmt: skip
    return out


def _library() -> Any:
    found = importlib.util.find_spec("xllamacpp")
    if found is None or not found.submodule_search_locations:
        raise ImportError("GGUF's K and I types: xllamacpp is not installed")
    folder = Path(found.submodule_search_locations[0])
    library = ctypes.CDLL(str(next(folder.glob("*.so"))))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def _address(values: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)
