"""Whole lossy Taut files on disk: every byte counted, read back, and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import taut
from bench.data.minilm import is_matrix
from bench.data.tensors import Array
from bench.measuring import report
from bench.measuring.timing import Effort, measure
from taut import coding
from taut.container import TautFile
from taut.demo.minilm import find_minilm
from taut.errors import TautError


@dataclass(frozen=True)
class LossyFile:
    """A lossy file that was made and read back: its size, its speeds, its tensors."""

    name: str
    nbytes: int
    speeds: dict[str, object]
    decoded: Mapping[str, Array]


def lossy(
    folder: Path, bits: float, quality: Literal["fast", "max"], effort: Effort
) -> LossyFile | report.Row:
    """Compress the encoder to `bits` per parameter and time it; a row with "error" if it cannot.

    `encode_s`: CPU seconds of the whole compression, from file to checked file. `decode_warm`:
    GB/s of float32 of the coder alone, matrices only, into pages used before; `load_warm`: of
    `load_all`, checksums and small tensors included.
    """
    target = folder / "model.taut.safetensors"
    name = f"taut {quality} --bits {bits:g}"
    source = find_minilm() / "model.safetensors"
    start, wall = time.process_time(), time.perf_counter()
    try:
        taut.compress(source, target, bits=bits, effort=quality, threads=1)
    except (ImportError, NotImplementedError, TautError) as error:
        report.say(f"{name}: {error}")
        return {"codec": name, "error": str(error)}
    speeds: dict[str, object] = {
        "encode_s": time.process_time() - start,
        "encode_wall_s": time.perf_counter() - wall,
    }
    file = TautFile(target)
    decoded = file.load_all(threads=1)
    for key, threads in (("load_warm", 1), ("load_warm_2", 2)):
        load = measure(lambda: decoded, partial(_load, file, threads), effort)
        total = sum(a.nbytes for a in decoded.values())
        speeds[key] = total / 1e9 / (load.cpu if threads == 1 else load.wall)
    jobs = _jobs(file, decoded)
    core = measure(lambda: jobs, coding.decode, effort)
    speeds["decode_warm"] = sum(job.out.nbytes for job in jobs) / 1e9 / core.cpu
    return LossyFile(name, target.stat().st_size, speeds, decoded)


def _load(file: TautFile, threads: int, out: Mapping[str, Array]) -> None:
    file.load_all(threads=threads, out=out)


def _jobs(file: TautFile, decoded: Mapping[str, Array]) -> list[coding.Job]:
    jobs = []
    for name, place in file.contents.places.items():
        if place.parts and name in decoded and is_matrix(decoded[name]):
            checked = file.fetcher.check(place)
            jobs.append(coding.Job(checked.header, checked.chunks, decoded[name]))
    return jobs
