"""GGUF types, as far as the `gguf` package quantises by itself, in files that it writes.

It has no quantiser for the K and I types (those are llama.cpp's). TQ1_0 and TQ2_0 are left out:
they are for weights trained to be ternary. Rows that 32 does not divide stay float16, vectors
float32, as llama.cpp keeps them; kernels are folded into matrices first.
"""

from __future__ import annotations

import importlib
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.tensors import Array
from bench.frontier.shelf import Coded, Peer, as_matrix, is_matrix

if TYPE_CHECKING:
    from bench.subjects.subject import Subject

_TYPES = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4")
_GROUP = 32


def peers() -> list[Peer]:
    """Return the types; ImportError without the package."""
    importlib.import_module("gguf")
    return [Peer(f"GGUF {kind}", "GGUF", partial(code, kind)) for kind in _TYPES]


def code(kind: str, subject: Subject) -> Coded:
    """Write a GGUF file of one type and count it."""
    gguf = importlib.import_module("gguf")

    quantization = gguf.GGMLQuantizationType[kind]
    decoded: dict[str, Array] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = gguf.GGUFWriter(path, "bench")
        for name, values in subject.weights.items():
            matrix = as_matrix(values) if is_matrix(values) else values
            chosen = quantization if is_matrix(values) else gguf.GGMLQuantizationType.F32
            if is_matrix(values) and matrix.shape[1] % _GROUP:
                chosen = gguf.GGMLQuantizationType.F16
            packed = gguf.quants.quantize(matrix, chosen)
            writer.add_tensor(name, packed, raw_dtype=chosen)
            back = gguf.quants.dequantize(packed, chosen)
            decoded[name] = back.reshape(values.shape).astype(np.float32)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return Coded(decoded, path.stat().st_size)
