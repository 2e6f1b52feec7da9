"""Exports to phones and boards: bytes, accuracy, and how much faster int8 runs than float there.

A runtime is measured where its packages are: in the environments of `make clients INSTALL="litert
executorch"`. Float and int8 take turns, a sample a call, on one thread; the ratio is that of their
processor times in the same run. Accuracies are of the written files.

build/clients/litert/bin/python -m bench.runtime.devices
build/clients/executorch/bin/python -m bench.runtime.devices --images 2000 --task resnet20
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch

import taut
from bench.classics.data import Task
from bench.classics.tasks import task
from bench.measuring import report
from taut.exporting.held_against import Answers

# Of each runtime the package that it takes, and how its files end.
RUNTIMES: Final = {"litert": ("litert_torch", ".tflite"), "executorch": ("executorch", ".pte")}
WAYS: Final[Mapping[str, Mapping[str, str]]] = {
    "float32": {"weights": "float32"},
    "int8 dynamic": {"activations": "dynamic"},
    "int8 static": {"activations": "static"},
}
_CALIBRATION = 256
_TURNS = 20  # samples a turn


def main() -> None:
    """Export, judge and time; print a table."""
    asked = command_line().parse_args()
    torch.set_num_threads(1)
    here = [name for name, (package, _) in RUNTIMES.items() if find_spec(package) is not None]
    if not here:
        sys.exit("no runtime is installed here: make clients INSTALL=litert")
    rows = []
    for name in asked.task:
        found = task(name)
        for runtime in here:
            with tempfile.TemporaryDirectory() as folder:
                rows += measured(found, runtime, Path(folder), asked.images, asked.turns)
    titles = ("network", "runtime", "way", "bytes", "exact", "accuracy", "times float32")
    print(report.table({title: title for title in titles}, rows))


def measured(
    found: Task, runtime: str, folder: Path, images: int, turns: int
) -> list[dict[str, object]]:
    """Rows of a network in a runtime."""
    net, test = found.trained(), found.test[:images]
    matrices = [name for name, one in net.named_parameters() if one.ndim > 1]
    rules = [f'  - {{match: "{name}", scheme: int8}}' for name in matrices]
    plan = ["taut: 1", "rules:", *rules, '  - {match: "*", scheme: keep}']
    (folder / "plan.yaml").write_text("\n".join(plan) + "\n")
    file = folder / "net.taut.safetensors"
    taut.compress(net, file, plan=folder / "plan.yaml")
    calibration = list(found.pixels(found.train.images[:_CALIBRATION]).split(64))
    pixels = found.pixels(test.images)
    ways: dict[str, Answers] = {}
    rows: list[dict[str, object]] = []
    for way, options in WAYS.items():
        out = folder / f"{len(ways)}{RUNTIMES[runtime][1]}"
        done = taut.export(file, out, into=net, calib=calibration, **options)
        print(f"{found.name}, {runtime}, {way}: {done.size:,} bytes", file=sys.stderr)
        ways[way] = opened(runtime, out)
        rows.append(
            {"network": found.name, "runtime": runtime, "way": way, "bytes": f"{done.size:,}"}
            | {"exact": f"{done.exact} of {done.exact + done.rounded}"}
            | {"accuracy": f"{accuracy(ways[way], pixels, test.labels):.2f}"}
        )
    times = in_turns(ways, pixels, turns)
    for row, way in zip(rows, ways, strict=True):
        row["times float32"] = f"{times['float32'] / times[way]:.2f}"
    return rows


def opened(runtime: str, path: Path) -> Answers:
    """What runs a written file."""
    if runtime == "litert":
        from taut.exporting.litert.interpreter import LiteRunner

        return LiteRunner(path)
    from taut.exporting.executorch.program_runner import ProgramRunner

    return ProgramRunner(path)


def accuracy(answers: Answers, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """The percentage of images whose class is right."""
    right = sum(
        int(answers(pixels[at : at + 1])[0].argmax()) == int(labels[at])
        for at in range(len(pixels))
    )
    return 100 * right / len(pixels)


def in_turns(ways: Mapping[str, Answers], pixels: torch.Tensor, turns: int) -> dict[str, float]:
    """The median processor time of some samples in each way, in seconds, ways taking turns."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, answers in ways.items():
            times[way].append(_seconds(lambda one=answers: _some(one, pixels)))  # type: ignore[misc]
    return {way: statistics.median(found) for way, found in times.items()}


def _some(answers: Answers, pixels: torch.Tensor) -> None:
    for at in range(_TURNS):
        answers(pixels[at : at + 1])


def _seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=["resnet20", "lenet5"])
    parser.add_argument("--images", type=int, default=10_000, help="test images that judge")
    parser.add_argument("--turns", type=int, default=30, help="of 20 samples each")
    return parser


if __name__ == "__main__":
    main()
