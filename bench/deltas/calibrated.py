"""What calibration data are worth to a rounded delta: LeNet-300-100, trained on for a while.

    python -m bench.deltas.calibrated [--bits BITS ...]

The network is trained on for 20,000 images that are shifted by three pixels, of which the base
knows nothing, and compressed to the same sizes as a delta without data, as a delta with 2,048
other images, and alone with these. Error and loss are of the 10,000 test images, shifted alike.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import taut
from bench.classics.data import Task
from bench.classics.mnist import lenet
from bench.measuring import report

_TRAINED, _CALIBRATED, _BATCH, _SHIFT = 20_000, 2_048, 128, 3
_COLUMNS = {"bits": "bits", "way": "way", "bytes": "bytes", "error": "error, %", "loss": "loss"}


def command_line() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", nargs="+", type=float, default=[0.25, 0.5, 1.0], metavar="BITS")
    return parser


def shifted(task: Task, images: Tensor) -> Tensor:
    """Give images as the network takes them, moved to the right."""
    return torch.roll((images.float() / 255 - task.mean) / task.deviation, _SHIFT, -1)


def trained_on(task: Task, base: nn.Module, order: Tensor) -> nn.Module:
    """Give what training on shifted images makes of a network."""
    network = copy.deepcopy(base).train()
    optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    for some in order[:_TRAINED].split(_BATCH):
        optimiser.zero_grad()
        output = network(shifted(task, task.train.images[some]))
        functional.cross_entropy(output, task.train.labels[some]).backward()
        optimiser.step()
    return network.eval()


def judged(task: Task, network: nn.Module) -> report.Row:
    """Give error and loss on the test images."""
    labels = task.test.labels
    with torch.no_grad():
        output = network(shifted(task, task.test.images))
    wrong = float((output.argmax(1) != labels).float().mean())
    loss = float(functional.cross_entropy(output, labels))
    return {"error": f"{100 * wrong:.2f}", "loss": f"{loss:.4f}"}


def rows_of(bits: list[float]) -> Iterator[report.Row]:
    """Measure the base, what was made of it, and each way at each size."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    task = lenet("lenet300")
    base = task.trained()
    order = torch.randperm(len(task.train.labels))
    tuned = trained_on(task, base, order)
    for name, network in (("the base", base), ("trained on", tuned)):
        yield {"bits": 32, "way": name, "bytes": "", **judged(task, network)}
    known = {n: np.ascontiguousarray(t.numpy()) for n, t in base.state_dict().items()}
    calib = [
        shifted(task, task.train.images[some])
        for some in order[_TRAINED : _TRAINED + _CALIBRATED].split(_BATCH)
    ]
    ways = {
        "delta": {"base": known},
        "delta, calibrated": {"base": known, "calib": calib},
        "alone, calibrated": {"calib": calib},
    }
    with tempfile.TemporaryDirectory() as folder:
        for each in bits:
            for way, asked in ways.items():
                path = Path(folder) / "tried.taut.safetensors"
                done = taut.compress(tuned, path, bits=each, force=True, **asked)  # type: ignore[arg-type]
                tensors = taut.load(path, base=known if "base" in asked else None)
                network = copy.deepcopy(tuned)
                network.load_state_dict(
                    {name: torch.from_numpy(np.array(tensors[name])) for name in tensors}
                )
                yield {"bits": each, "way": way, "bytes": done.size, **judged(task, network)}


def main() -> None:
    """Measure and print a table."""
    asked = command_line().parse_args()
    print(report.table(_COLUMNS, list(rows_of(asked.bits))))


if __name__ == "__main__":
    main()
