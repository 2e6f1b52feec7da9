"""A calibrated compression of a language model in this process: what `bench.scale.table` observes.

    python -m bench.scale.compressing FOLDER TEXT WINDOWS BITS RESULT [--resume] [--die STAGE:DONE]

FOLDER is a model that transformers opens. Of TEXT so many windows of 512 tokens calibrate it, one a
batch; RESULT is the folder that is written. CPU seconds of each stage go to stderr. With --die the
process kills itself when so much of a stage is done; with --resume it goes on with one that was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

import taut
from bench.scale.collecting import cpu_seconds, windows_of
from taut.encoding.estimate import LIBRARIES, estimate_disk, estimate_memory
from taut.encoding.run_needs import DataShapes
from taut.io import open_source
from taut.machine.peak_memory import held_memory


def main(argv: Sequence[str] | None = None) -> None:
    """Compress, and print what it took."""
    torch.set_num_threads(1)
    asked = command_line().parse_args(argv)
    batches = windows_of(Path(asked.model), Path(asked.text), asked.windows)
    tokens = sum(one["input_ids"].numel() for one in batches)
    source = open_source(asked.model)
    sample = batches[0]["input_ids"].shape[1]
    largest = max(one["input_ids"].numel() for one in batches)
    data = DataShapes(tokens, batch=largest, sample=sample, journal=True)
    told = max(LIBRARIES, held_memory()) - held_memory()
    told += estimate_memory(source, calibrated=True, data=data)
    disk = sum(estimate_disk(source, tokens, journal=True))
    began = last = cpu_seconds()
    stages: Counter[str] = Counter()

    def watch(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = cpu_seconds()
        stages[stage] += now - last  # type: ignore[assignment]  # seconds
        last = now
        if f"{stage}:{done}" == asked.die:
            print(json.dumps({"cpu": now - began}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    result = taut.compress(
        asked.model, asked.result, calib=batches, bits=asked.bits, threads=1, force=True,
        resume=asked.resume, progress=watch,
    )  # fmt: skip
    print({name: round(seconds) for name, seconds in stages.items()}, file=sys.stderr)
    print(*result.notes, sep="\n", file=sys.stderr)
    said = {"cpu": cpu_seconds() - began, "bits": result.bits, "weights": result.parameters}
    print(json.dumps({**said, "told": told, "disk": disk}))


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder that transformers opens")
    parser.add_argument("text", help="a text to take windows of")
    parser.add_argument("windows", type=int, help="windows of 512 tokens")
    parser.add_argument("bits", type=float, help="bits a weight, everything counted")
    parser.add_argument("result", help="the folder to write")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--die", default="", metavar="STAGE:DONE", help="where it kills itself")
    return parser


if __name__ == "__main__":
    main()
