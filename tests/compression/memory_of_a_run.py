"""A calibrated run in a process of its own: prints what memory was foretold, and what it took.

    python -m tests.compression.memory_of_a_run NAME

The peak is the system's own, of this run alone: what was before is forgotten (clear_refs).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import nn

import taut
from taut.compression import room
from taut.machine import trim_heap

_STATUS = Path("/proc/self/status")
_estimate = room.estimate_memory


class Reader(nn.Module):
    """An LSTM and a classifier of its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 128, batch_first=True)
        self.head = nn.Linear(128, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classes of each sequence."""
        found: torch.Tensor = self.head(self.lstm(x)[0][:, -1])
        return found


def mlp(batch: int) -> tuple[nn.Module, torch.Tensor]:
    """Wide layers, of which the weights and their forms are most."""
    layers = nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(1024, 10)), torch.randn(batch, 1024)


def convolutions(batch: int) -> tuple[nn.Module, torch.Tensor]:
    """Few weights and many values, of which what a batch keeps is most."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(*layers).eval(), torch.randn(batch, 3, 32, 32)


def recurrent(batch: int) -> tuple[nn.Module, torch.Tensor]:
    """A cell that runs many times."""
    return Reader().eval(), torch.randn(batch, 100, 64)


NETWORKS: dict[str, tuple[Callable[[int], tuple[nn.Module, torch.Tensor]], int]] = {
    "mlp": (mlp, 64),
    "convolutions": (convolutions, 64),
    "recurrent": (recurrent, 128),
}


def main(name: str) -> None:
    """Run a small batch of it, so that all is imported, and then what is measured."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    make, batch = NETWORKS[name]
    _compress(*make(2))
    trim_heap()
    Path("/proc/self/clear_refs").write_text("5")
    told = _compress(*make(batch))
    found = {key: _kilobytes(key) * 1024 for key in ("VmHWM", "RssFile")}
    print(json.dumps({"told": told, "seen": found["VmHWM"] - found["RssFile"]}))


def _compress(net: nn.Module, batch: torch.Tensor) -> int:
    """What was foretold of a run on two such batches."""
    told: list[int] = []

    def noted(*args: object, **kwargs: object) -> int:
        told.append(_estimate(*args, **kwargs))  # type: ignore[arg-type]
        return told[-1]

    with mock.patch.object(room, "estimate_memory", noted), tempfile.TemporaryDirectory() as made:
        out = Path(made) / "small.taut.safetensors"
        taut.compress(net, out, calib=[batch, batch + 1], bits=4, threads=1, finish=False)
    return told[0]


def _kilobytes(key: str) -> int:
    line = next(one for one in _STATUS.read_text().splitlines() if one.startswith(f"{key}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main(sys.argv[1])
