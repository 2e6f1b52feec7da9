"""Taut's own points: files made by the public verb, weighed on disk and read back."""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

import taut
from bench.frontier.shelf import Coded
from bench.measuring import report
from bench.subjects.subject import Subject
from taut.errors import TautError

DATA_FREE, CALIBRATED, FINISHED = "data-free", "calibrated", "calibrated, finished"
_MODES = {DATA_FREE: None, CALIBRATED: False, FINISHED: True}


def modes() -> list[str]:
    """Return the ways of compressing that this version has."""
    known = inspect.signature(taut.compress).parameters
    return list(_MODES) if {"calib", "finish"} <= known.keys() else [DATA_FREE]


def points(
    subject: Subject, bits: Sequence[float], chosen: Sequence[str]
) -> Iterator[tuple[str, str, Coded | str, float]]:
    """Yield name, curve, what came of it (or what went wrong) and seconds, a file at a time."""
    for mode in chosen:
        for width in bits:
            start = time.perf_counter()
            name, made = f"taut {mode} {width:g}", compress(subject, width, mode)
            if isinstance(made, str):
                report.say(f"{subject.name}, {name}: {made}")
            yield name, f"taut {mode}", made, time.perf_counter() - start


def compress(subject: Subject, bits: float, mode: str) -> Coded | str:
    """Compress to `bits` a parameter and read the file back; the message of what went wrong."""
    finish = _MODES[mode]
    more = {} if finish is None else {"calib": list(subject.calibration), "finish": finish}
    work: Callable[..., object] = taut.compress
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.taut.safetensors")
        try:
            work(subject.module(), path, bits=bits, **more)
            file = taut.load(path)
            decoded = {name: file[name].astype(np.float32) for name in subject.weights}
        except (ImportError, NotImplementedError, TautError, KeyError) as error:
            return f"{type(error).__name__}: {error}"
        return Coded(decoded, path.stat().st_size)
