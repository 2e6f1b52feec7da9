"""NNCodec, the reference coder of ISO/IEC 15938-17, in an environment of its own.

It wants numpy < 2, so it runs as another process: the Python that $NNCODEC_PYTHON names, which
executes this same file. bench/README.md says how to make that environment.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_save: Callable[..., None] = np.savez


@dataclass(frozen=True)
class NNCodecRun:
    """A whole model coded and decoded: bytes of the bitstream, CPU seconds, what came back."""

    nbytes: int
    encode_s: float
    decode_s: float
    decoded: dict[str, np.ndarray]


def nncodec_python() -> str | None:
    """Return the interpreter that can import nncodec, None where there is none."""
    python = os.environ.get("NNCODEC_PYTHON", sys.executable)
    try:
        probe = subprocess.run([python, "-c", "import nncodec.nnc"], capture_output=True)
    except OSError:
        return None
    return python if probe.returncode == 0 else None


def run(python: str, weights: dict[str, np.ndarray], qp: int, *, trellis: bool) -> NNCodecRun:
    """Code float32 `weights` at one quantisation parameter; integers are left out (it exits)."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.npz"), Path(folder, "target.npz")
        floats = {k: v for k, v in weights.items() if v.dtype == np.float32}
        _save(source, **floats)
        task = json.dumps({"source": str(source), "target": str(target), "qp": qp, "dq": trellis})
        one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        done = subprocess.run(
            [python, __file__, task], capture_output=True, text=True, env=os.environ | one_thread
        )
        if done.returncode:
            raise RuntimeError(f"NNCodec failed:\n{done.stderr[-2000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        with np.load(target) as arrays:
            decoded = {name: arrays[name] for name in arrays.files}
    return NNCodecRun(told["nbytes"], told["encode_s"], told["decode_s"], decoded)


def _work(task: dict[str, str | int | bool]) -> None:
    nnc = importlib.import_module("nncodec.nnc")

    source, target = Path(str(task["source"])), Path(str(task["target"]))
    with np.load(source) as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    start = time.process_time()
    stream = nnc.compress(
        weights,
        bitstream_path=str(source.with_suffix(".nnc")),
        qp=task["qp"],
        use_dq=task["dq"],
        row_skipping=True,
        return_bitstream=True,
    )
    encoded = time.process_time()
    decoded = nnc.decompress(stream)
    seconds = {"encode_s": encoded - start, "decode_s": time.process_time() - encoded}
    _save(target, **decoded)
    print(json.dumps({"nbytes": len(stream)} | seconds))


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
