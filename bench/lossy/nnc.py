"""NNCodec, the reference coder of ISO/IEC 15938-17, in an environment of its own.

It wants numpy < 2, so it runs as another process: the Python that $NNCODEC_PYTHON names, which
executes this same file. bench/README.md says how to make that environment. Its package imports
torchvision for data sets that are of no use here: where that does not load, as beside a PyTorch
without its operators, stand-ins take its place.
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
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

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
    # This file without a task imports it, and ends.
    python = os.environ.get("NNCODEC_PYTHON", sys.executable)
    try:
        probe = subprocess.run([python, __file__], capture_output=True)
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


class StandIns:
    """A finder of modules that gives stand-ins for a package and all within it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of a stand-in, None of any other module."""
        inside = name.partition(".")[0] == self._package
        return ModuleSpec(name, self, is_package=True) if inside else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module that has whatever it is asked for."""
        made: ModuleType = MagicMock(name=spec.name)
        made.__path__, made.__spec__ = [], spec
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stand-in holds no code."""


def _imported() -> ModuleType:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.meta_path.insert(0, StandIns("torchvision"))  # type: ignore[arg-type]
    return importlib.import_module("nncodec.nnc")


def _work(task: dict[str, str | int | bool]) -> None:
    nnc = _imported()

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
    if len(sys.argv) > 1:
        _work(json.loads(sys.argv[1]))
    else:
        _imported()
