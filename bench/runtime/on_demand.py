"""MiniLM with its weights decoded layer by layer, beside the same model fully loaded.

python -m bench.runtime.on_demand [--quick] [--files minilm-4-bits.taut.safetensors ...]

Memory is of a process of its own each: the peak over what it held before the model was built, its
mapped file included, while it is loaded and makes three passes over the same 8 sentences. Times are
of all models in turns in one process, each pass with sentences that the models have not met before
while there are such. Ratios are of wall time and of CPU time (of all threads, that which decodes
ahead included).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

import taut
from bench.measuring import report
from taut.demo.minilm import SentenceEncoder, find_minilm, read_sentences

FILES: dict[str, dict[str, Any]] = {
    "minilm-lossless": {},
    "minilm-4-bits-fast": {"bits": 4, "effort": "fast"},
    "minilm-4-bits": {"bits": 4},
    "minilm-1.7-bits-calibrated": {"bits": 1.7, "calib": "default"},  # its table lies in a basis
}
CACHES: dict[str, dict[str, Any]] = {  # what is kept between passes
    "on demand": {},
    "on demand, 24MB": {"cache": "24MB"},  # of rounded files all, as integers
    "on demand, 48MB": {"cache": "48MB"},  # what a pass takes where the word embedding is decoded
    "on demand, 48MB of bfloat16": {"cache": "48MB", "cache_dtype": "bfloat16"},
}
KINDS = ("loaded", *CACHES)
MEMORY = {
    "file": "file",
    "kind": "model",
    "file_mb": "file, MB",
    "peak_mb": "peak, MB",
    "after_mb": "after a pass, MB",
    "decoded_mb": "of it decoded weights and integers at most, MB",
}
TIMES = {
    "file": "file",
    "sentences": "sentences",
    "again": "the same again",
    "kind": "model",
    "ms": "ms",
    "slowdown": "times as long",
    "cpu": "times the CPU time",
    "ahead": "decoded ahead",
    "cosine": "cosine with the loaded model's",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write `bench/results/on_demand.json`."""
    arguments = command_line().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        print(json.dumps(memory(*arguments.memory)))
        return
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.files or compressed(Path(folder)):
            name = path.name.removesuffix(".taut.safetensors")
            report.say(name)
            rows += [{"file": name, **apart(kind, path)} for kind in KINDS]
            for count, again in ((1, False), (1, True), (8, False), (32, False)):
                repeats = 5 if arguments.quick else 15
                found = times(path, count, again, repeats, arguments.threads)
                rows += [{"file": name, **row} for row in found]
    report.save("on_demand", rows, threads=arguments.threads)
    print(report.table(MEMORY, [row for row in rows if "file_mb" in row]), "\n")
    print(report.table(TIMES, [row for row in rows if "slowdown" in row]))


def compressed(folder: Path) -> Iterator[Path]:
    """Make MiniLM's files."""
    for name, options in FILES.items():
        path = folder / f"{name}.taut.safetensors"
        if "calib" in options:  # of a folder one is made
            made = folder / name
            taut.compress(str(find_minilm()), made, **options)
            (made / "model.taut.safetensors").rename(path)
        else:
            taut.compress(find_minilm(), path, **options)
        yield path


def apart(kind: str, path: Path) -> dict[str, object]:
    """What `memory` finds in a process of its own."""
    command = [sys.executable, "-m", "bench.runtime.on_demand", "--memory", kind, str(path)]
    found: dict[str, object] = json.loads(subprocess.check_output(command, text=True))
    return found


def memory(kind: str, path: str) -> dict[str, object]:
    """Build, load and run one model; its memory over that of the libraries."""
    encoder = SentenceEncoder(find_minilm(), read_sentences()[:8])
    torch.nn.Linear(4, 4)(torch.zeros(1, 4))
    empty(encoder)  # imports what it takes
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    net = built(kind, path, encoder, threads=1)
    for _ in range(3):
        encoder.embed(net)
    return {
        "kind": kind,
        "file_mb": Path(path).stat().st_size / 1e6,
        "peak_mb": (resident("VmHWM") - before) / 1e6,
        "after_mb": (resident() - before) / 1e6,
        "decoded_mb": decoded(net) / 1e6,
    }


def resident(key: str = "VmRSS") -> int:
    """A line of Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def decoded(net: torch.nn.Module) -> int:
    """The most bytes of weights that were decoded at once."""
    if hasattr(net, "taut"):
        stats = net.taut.stats  # type: ignore[union-attr]
        held = stats.loaded + stats.pool_peak + stats.narrow  # type: ignore[union-attr]
        return int(held)
    return sum(tensor.nbytes for tensor in net.parameters())


def empty(encoder: SentenceEncoder) -> torch.nn.Module:
    """The network with parameters that take no memory, and its buffers."""
    from accelerate import init_empty_weights

    with init_empty_weights():
        return encoder.blank()


def built(kind: str, path: str | Path, encoder: SentenceEncoder, threads: int) -> torch.nn.Module:
    """The network with the file's weights: all of them, or those of the layer that runs."""
    net = empty(encoder)
    if kind != "loaded":
        return taut.load(path, into=net, on_demand=True, threads=threads, **CACHES[kind])
    for part in net.modules():
        for key, old in part._parameters.items():
            if old is not None:
                part._parameters[key] = torch.nn.Parameter(torch.empty(old.shape))
    return taut.load(path, into=net, threads=threads)


def times(
    path: Path, count: int, again: bool, repeats: int, threads: int
) -> list[dict[str, object]]:
    """Median times of a pass of each, in turns; their outputs have to be equal to the bit.

    Each pass has the next sentences, or the same ones `again`.
    """
    texts = read_sentences()
    starts = [0 if again else number * count % len(texts) for number in range(repeats + 1)]
    batches = [
        SentenceEncoder(find_minilm(), (texts * (2 + count // len(texts)))[start : start + count])
        for start in starts
    ]
    nets = {kind: built(kind, path, batches[0], threads) for kind in KINDS}
    outputs = [batches[0].embed(net) for net in nets.values()]
    cosines = [float((one * outputs[0]).sum(1).mean()) for one in outputs]
    for kind, one, cosine in zip(KINDS, outputs, cosines, strict=True):
        if "bfloat16" not in kind and not (one == outputs[0]).all():
            raise SystemExit(f"{kind}: the outputs differ: {cosine}")
    wall: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for batch in batches[1:]:
        for kind, net in nets.items():
            began, used = time.perf_counter(), time.process_time()
            batch.embed(net)
            cpu[kind].append(time.process_time() - used)
            wall[kind].append(time.perf_counter() - began)
    rows: list[dict[str, object]] = []
    for kind, net in nets.items():
        row: dict[str, object] = {
            "sentences": count,
            "again": again,
            "kind": kind,
            "ms": 1e3 * median(wall[kind]),
        }
        row["slowdown"] = median(wall[kind]) / median(wall[KINDS[0]])
        row["cpu"] = median(cpu[kind]) / median(cpu[KINDS[0]])
        if kind != KINDS[0]:
            stats = net.taut.stats  # type: ignore[union-attr]
            row["cosine"] = cosines[KINDS.index(kind)]
            row["ahead"] = stats.ahead / max(1, stats.decoded)  # type: ignore[union-attr]
        rows.append(row)
    return rows


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Layers decoded when they run.")
    parser.add_argument("--quick", action="store_true", help="5 repeats")
    parser.add_argument("--threads", type=int, default=1, help="of torch and of the decoder")
    parser.add_argument("--files", nargs="+", type=Path, help="MiniLM's, made already")
    parser.add_argument("--memory", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
