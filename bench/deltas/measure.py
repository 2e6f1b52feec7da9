"""Sizes of deltas, ours beside other programs' on the same files in the same run.

    python -m bench.deltas.measure [--only PAIR ...] [--peers ENVIRONMENT/bin] [--pairs FOLDER]
                                   [--scale FACTOR] [--update]

Pairs are made once, in the folder given, from the assets: MiniLM in bfloat16 with 2 % of its values
moved one ulp; ResNet-20 two epochs on, and with a part of what that moved (`--scale`), as a gentler
training would have left it; a LoRA merged into gpt2m in bfloat16; LeNet-300-100 after each of ten
epochs. `alone` is the file without a base, at the better effort. Lossy is a delta at
1 bit, and the bits that the file alone takes for the same error. Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import taut
from bench.deltas.pairs import PAIRS, lenet_epochs
from bench.deltas.peers import Peer, peers
from bench.measuring import report

_TIMES = 25
_EPOCHS = "LeNet-300-100, ten epochs"
_COLUMNS = {
    "pair": "pair",
    "original": "bytes",
    "alone": "alone",
    "taut": "**Taut**",
    "others": "others",
    "decode": "decoding, of exact alone",
}


def command_line() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*PAIRS, _EPOCHS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="PAIR")
    parser.add_argument("--peers", type=Path, default=Path("none"), metavar="FOLDER")
    parser.add_argument("--pairs", type=Path, metavar="FOLDER")
    parser.add_argument("--scale", type=float, default=0.03)
    parser.add_argument("--update", action="store_true", help="write bench/results/deltas.json")
    return parser


def files_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Give the base and what became of it; what was made before is taken."""
    kept = folder / name.replace(" ", "_").replace(",", "").replace("%", "percent")
    if not kept.exists():
        making = Path(tempfile.mkdtemp(dir=folder))
        base, tuned = PAIRS[name](making)
        base.rename(making / "base.safetensors")
        tuned.rename(making / "tuned.safetensors")
        making.rename(kept)
    return kept / "base.safetensors", kept / "tuned.safetensors"


def scaled(base: Path, tuned: Path, scale: float) -> Path:
    """Write the model that moved by a part of what the other one moved."""
    first, second = load_file(base), load_file(tuned)
    part = {n: (t + np.float32(scale) * (second[n] - t)).astype(t.dtype) for n, t in first.items()}
    out = tuned.with_name(f"tuned_{scale:g}.safetensors")
    save_file(part, out)
    return out


def seconds_of(path: Path, given: dict[str, np.ndarray] | None) -> float:
    """CPU seconds of decoding all tensors; the base is in memory."""
    file = taut.load(path, threads=1, base=given)
    begin = time.process_time()
    file.load_all(threads=1)
    return time.process_time() - begin


def speed_of(delta: Path, alone: Path, base: Path) -> float:
    """How many times as fast a delta decodes as the same tensors alone: both in turn, the least."""
    given = load_file(base)
    seconds = [(seconds_of(alone, None), seconds_of(delta, given)) for _ in range(_TIMES)]
    first, second = map(min, zip(*seconds, strict=True))
    return first / second


def row_of(name: str, base: Path, tuned: Path, others: dict[str, Peer]) -> report.Row:
    """Measure one pair."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        alone = taut.compress(tuned, folder / "alone.taut.safetensors", effort="max")
        fast = taut.compress(tuned, folder / "fast.taut.safetensors")
        delta = taut.compress(tuned, folder / "delta.taut.safetensors", base=base)
        lossy = taut.compress(tuned, folder / "lossy.taut.safetensors", base=base, bits=1)
        error = max(t.rel_mse for t in lossy.tensors)
        found = {peer: act(base, tuned, folder) for peer, act in others.items()}
        return {
            "pair": name,
            "original": tuned.stat().st_size,
            "alone": min(alone.size, fast.size),
            "taut": delta.size,
            "peers": found,
            "others": ", ".join(f"{peer} {size}" for peer, size in found.items()) or "-",
            "decode": f"{speed_of(delta.path, fast.path, base):.2f}x",
            "lossy_bits": lossy.bits,
            "lossy_error": error,
            "alone_bits": bits_at(tuned, error, folder) if error else min(alone.bits, fast.bits),
        }


def bits_at(tuned: Path, error: float, folder: Path) -> float:
    """Bits a weight that the model alone takes to lose no more, to an eighth."""
    low, high = 1.0, 24.0
    while high - low > 1 / 8:
        bits = (low + high) / 2
        path = folder / "tried.taut.safetensors"
        found = taut.compress(tuned, path, bits=bits, force=True)
        worst = max(t.rel_mse for t in found.tensors)
        low, high = (low, bits) if worst <= error else (bits, high)
    return high


def epoch_rows(folder: Path, others: dict[str, Peer]) -> Iterator[report.Row]:
    """Measure ten checkpoints: each to the one before it, all together."""
    kept = folder / "lenet"
    if not kept.exists():
        making = Path(tempfile.mkdtemp(dir=folder))
        lenet_epochs(making)
        making.rename(kept)
    files = [kept / f"lenet_{number}.safetensors" for number in range(10)]
    rows = [row_of("", base, tuned, others) for base, tuned in itertools.pairwise(files)]
    total = _summed(rows)
    told = ", ".join(f"{key} {size}" for key, size in total.items() if key not in ("alone", "taut"))
    original = sum(path.stat().st_size for path in files[1:])
    yield {**rows[-1], **total, "pair": _EPOCHS, "original": original, "others": told or "-"}


def _summed(rows: Sequence[report.Row]) -> dict[str, int]:
    """Bytes of all checkpoints together, ours and the peers'."""
    total: dict[str, int] = {}
    for row in rows:
        sizes = {"alone": row["alone"], "taut": row["taut"], **dict(row["peers"])}  # type: ignore[call-overload]
        for key, size in sizes.items():
            total[key] = total.get(key, 0) + (size or 0)
    return total


def rows_of(asked: argparse.Namespace, folder: Path) -> Iterator[report.Row]:
    """Measure what was asked for."""
    others = peers(asked.peers)
    for name in asked.only:
        if name == _EPOCHS:
            yield from epoch_rows(folder, others)
            continue
        base, tuned = files_of(name, folder)
        yield row_of(name, base, tuned, others)
        if name.startswith("ResNet"):
            less = scaled(base, tuned, asked.scale)
            yield row_of(f"{name}, {asked.scale:g} of what it moved", base, less, others)


def main() -> None:
    """Measure, print a table, and keep it where that is asked."""
    asked = command_line().parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = asked.pairs or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for row in rows_of(asked, folder):
            report.say(str(row))
            rows.append(row)
    print(report.table(_COLUMNS, rows))
    if asked.update:
        report.save("deltas", rows)


if __name__ == "__main__":
    main()
