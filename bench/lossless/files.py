"""Whole lossless Taut files on disk: written from a real safetensors file, every byte counted."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Literal

from safetensors.numpy import save_file

import taut
from bench.data.tensors import Array
from bench.measuring import report
from taut.errors import TautError


def lossless(named: dict[str, Array], dtype: str, effort: Literal["fast", "max"]) -> report.Row:
    """Compress the tensors as one file; `seconds`: wall time, the check by decoding included."""
    original = sum(a.nbytes for a in named.values())
    row: dict[str, object] = {"dtype": dtype, "codec": f"taut {effort}, file"}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.safetensors"), Path(folder, "target.safetensors")
        save_file(named, source)
        start = time.perf_counter()
        try:
            taut.compress(source, target, effort=effort, threads=1)
        except (AttributeError, ImportError, NotImplementedError, TautError) as error:
            report.say(f"taut.compress: {error!r}")
            return row | {"error": repr(error)}
        size = target.stat().st_size
        return row | {
            "original": original,
            "original_file": source.stat().st_size,
            "bytes": size,
            "ratio": size / original,
            "seconds": time.perf_counter() - start,
        }
