"""One row of the classic tables carried out: a file made, weighed, read back and judged."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import taut
from bench.classics.data import Batches, Task
from bench.classics.rows import ROWS, Row, Settings
from bench.classics.speed import times_as_fast
from bench.data.draws import places
from taut.errors import TautError

Compress = Callable[..., object]

QUICK = 4  # of epochs and of images, one in so many
_CALIBRATION = 1024  # images


def measured(
    row: Row,
    given: Task,
    seed: int,
    work: Compress,
    *,
    threads: int = 1,
    quick: bool = False,
    files: Path | None = None,
) -> dict[str, object]:
    """Compress as a row says, by `work`, and judge the file that comes of it."""
    training = scaled(row.training, quick)
    known = {
        "row": row.name,
        "seed": seed,
        "budget": "quick" if quick else "full",
        "threads": threads,
        "epochs": 0 if training is None else training["epochs"],
        "training": None if training is None else dict(training),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(files or folder, f"{row.name}-{seed}.taut.safetensors")
        call = call_of(row, given, training, seed)
        start = time.perf_counter()
        try:
            network = _start(row, given, seed)
            if row.before:
                network = _further(row, given, seed, work, path.parent, threads, quick)
                call["teacher"] = given.trained()
            work(network, path, seed=seed, threads=threads, force=True, **call)
        except (TautError, NotImplementedError) as error:
            return {**known, "error": f"{type(error).__name__}: {error}"}
        seconds = time.perf_counter() - start
        return {**known, "seconds": seconds, **judged(row, given, path, seed)}


def _further(
    row: Row, given: Task, seed: int, work: Compress, folder: Path, threads: int, quick: bool
) -> torch.nn.Module:
    """Return what an earlier row's file holds; it is made first where it is not there."""
    first = next(one for one in ROWS if one.name == row.before)
    path = folder / f"{first.name}-{seed}.taut.safetensors"
    if not path.is_file():
        call = call_of(first, given, scaled(first.training, quick), seed)
        work(given.trained(), path, seed=seed, threads=threads, force=True, **call)
    return taut.load(path, into=given.trained()).eval()


def judged(row: Row, given: Task, path: Path, seed: int = 0) -> dict[str, object]:
    """Weigh a file and measure what `taut.load` makes of it."""
    original = given.trained()
    network = taut.load(path, into=_start(row, given, seed)).eval()
    before, after = given.error(original), given.error(network)
    nbytes = path.stat().st_size
    found: dict[str, object] = {
        "bytes": nbytes,
        "parameters": given.parameters,
        "ratio": 4 * given.parameters / nbytes,
        "ratio_to_file": given.file_bytes / nbytes,
        "error_before": before,
        "error_after": after,
        "lost": after - before,
    }
    if row.latency:
        found["faster"] = times_as_fast(original, network, given.pixels(given.test.images[:64]))
    return found


def scaled(training: Settings | None, quick: bool) -> Settings | None:
    """Return a row's hyperparameters, of a quarter of the epochs where it is to be quick."""
    if training is None or not quick:
        return training
    return {**training, "epochs": max(1, int(str(training["epochs"])) // QUICK)}


def call_of(row: Row, given: Task, training: Settings | None, seed: int) -> dict[str, object]:
    """Put what a row asks for into the words of `taut.compress`."""
    call: dict[str, object] = {}
    if row.ratio is not None:  # in bytes, so that it is of the parameters and of nothing else
        call["size"] = int(4 * given.parameters / row.ratio)
    if row.rules or row.steps:
        from taut.planning import Plan

        rules = [{"match": match, "scheme": scheme} for match, scheme in row.rules]
        call["plan"] = Plan.model_validate(
            {"rules": rules} | ({"steps": list(row.steps)} if row.steps else {})
        )
    batches = Batches(given, row.batch, seed=seed, shift=row.shift, flip=row.flip)
    if training is None:
        return call | {"calib": _calibration(given, row.batch)}
    call["train"] = _fit(batches, training)
    if row.network == "narrow" and training["distill"] is not None:
        call["teacher"] = given.trained()
    return call


def _fit(batches: Batches, training: Settings) -> object:
    """Build the loop from plain words."""
    from taut.training.loop import Fit
    from taut.transform.settings import Distill, Masking, Training

    parts: dict[str, Callable[..., object]] = {"mask": Masking, "distill": Distill}
    made = {
        key: parts[key](**value) if isinstance(value, Mapping) else value
        for key, value in training.items()
    }
    settings: Callable[..., Training] = Training
    return Fit(batches, settings(**made))


def _calibration(given: Task, size: int) -> list[torch.Tensor]:
    x = given.pixels(given.train.images[places(len(given.train), _CALIBRATION)])
    return [x[start : start + size] for start in range(0, len(x), size)]


def _start(row: Row, given: Task, seed: int) -> torch.nn.Module:
    """Return the network that a row starts from, and loads into."""
    if row.network == "same":
        return given.trained()
    if given.narrow is None:
        raise RuntimeError(f"{row.name}: {given.name} has no narrow network")
    return given.narrow(seed).eval()
