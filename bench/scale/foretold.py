"""What memory is foretold for small networks, and what they take: one that is compressed here.

    python -m bench.scale.foretold             # all of them, each in a process of its own
    python -m bench.scale.foretold mlp lstm    # these

Each is calibrated on random numbers of its shapes, `--bits 3`. `foretold` is what the run is
checked with before it starts, once model and data are open (taut/compression/room.py); `seen` the
largest anonymous memory, looked at fifty times a second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

import taut
from bench.scale.observed import observe
from taut.compression import room

_SEED = 0


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row for each network; with --alone compress one in this process."""
    asked = command_line().parse_args(argv)
    if asked.alone:
        print(json.dumps(_compressed(asked.networks[0])))
        return
    print(
        "| network | weights | foretold, MB | seen, MB | seen / foretold |\n|---|---|---|---|---|"
    )
    for name in asked.networks or NETWORKS:
        found = observe(__spec__.name, name, "--alone")
        told, seen = found.said["told"] / 1e6, found.anonymous / 1e6
        weights = f"{found.said['weights']:,}"
        print(f"| {name} | {weights} | {told:.0f} | {seen:.0f} | {seen / told:.2f} |", flush=True)


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--alone", action="store_true", help="compress it in this process")
    return parser


def _compressed(name: str) -> dict[str, float]:
    """Compress a network, and tell what was foretold of it."""
    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    with tempfile.TemporaryDirectory() as folder:
        model, calib = NETWORKS[name](Path(folder))
        told: list[int] = []

        def noted(*args: Any, **kwargs: Any) -> int:
            told.append(_estimate(*args, **kwargs))
            return told[-1]

        began = time.process_time()
        with mock.patch.object(room, "estimate_memory", noted):
            done = taut.compress(
                model, Path(folder) / "small.taut.safetensors", calib=calib, bits=3, threads=1
            )
    return {
        "cpu": time.process_time() - began,
        "told": max(told, default=0),
        "weights": done.parameters,
    }


_estimate = room.estimate_memory


def mlp(folder: Path) -> tuple[object, object]:
    """LeNet-300-100, on 1,024 images in batches of 64."""
    layers = nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    return nn.Sequential(*layers), list(torch.randn(1024, 784).split(64))


def wide_mlp(folder: Path) -> tuple[object, object]:
    """Layers of 2,048 inputs and outputs."""
    layers = nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(2048, 10)), list(torch.randn(1024, 1024).split(64))


def lenet5(folder: Path) -> tuple[object, object]:
    """LeNet-5 in Caffe's shapes."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )
    return net, list(torch.randn(1024, 1, 28, 28).split(64))


def convolutions(folder: Path) -> tuple[object, object]:
    """Few weights and many values, of which what a batch keeps is most."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(*layers).eval(), [torch.randn(64, 3, 32, 32)]


class _Residual(nn.Module):
    """Two convolutions beside what enters."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.first, self.second = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.beside = nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum."""
        inner = self.second(self.two(torch.relu(self.first(self.one(x)))))
        return torch.relu(inner + self.beside(x))


def _resnet(width: int, blocks: int) -> nn.Module:
    stages: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1), nn.ReLU()]
    inside = width
    for stage in range(3):
        outside = width << stage
        for at in range(blocks):
            stages.append(_Residual(inside, outside, 2 if stage and not at else 1))
            inside = outside
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 10))


def resnet20(folder: Path) -> tuple[object, object]:
    """A residual network of 0.3 M weights on images of 32 x 32."""
    return _resnet(16, 3).eval(), list(torch.randn(128, 3, 32, 32).split(64))


def resnet(folder: Path) -> tuple[object, object]:
    """A residual network of 2.8 M weights on images of 32 x 32."""
    return _resnet(64, 2).eval(), list(torch.randn(128, 3, 32, 32).split(64))


def transformer(folder: Path) -> tuple[object, object]:
    """An encoder of four layers, width 128."""
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    net = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    return net.eval(), list(torch.randn(128, 64, 128).split(16))


def gpt(folder: Path) -> tuple[object, object]:
    """A GPT-2 of 3 M parameters, on windows of 128 tokens."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=4096, n_positions=128, n_embd=192, n_layer=4, n_head=4
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "gpt")
    tokens = torch.randint(0, 4096, (64, 128))
    return folder / "gpt", [{"input_ids": some} for some in tokens.split(8)]


class _Reader(nn.Module):
    """An LSTM and a classifier of its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 256, 2, batch_first=True)
        self.head = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classes of each sequence."""
        found: torch.Tensor = self.head(self.lstm(x)[0][:, -1])
        return found


def lstm(folder: Path) -> tuple[object, object]:
    """Two layers of 256 cells on 50 steps."""
    return _Reader().eval(), list(torch.randn(256, 50, 64).split(32))


def onnx(folder: Path) -> tuple[object, object]:
    """LeNet-5 as an ONNX file."""
    net, batches = lenet5(folder)
    assert isinstance(net, nn.Module)
    path = folder / "lenet5.onnx"
    sample = torch.randn(2, 1, 28, 28)
    torch.onnx.export(
        net, (sample,), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
    )
    assert isinstance(batches, list)
    return path, [{"x": np.asarray(one)} for one in batches]


def minilm(folder: Path) -> tuple[object, object]:
    """The MiniLM sentence encoder on 128 texts."""
    from taut.demo.minilm import find_minilm, read_sentences

    return find_minilm(), read_sentences()[:128]


NETWORKS: dict[str, Callable[[Path], tuple[object, object]]] = {
    one.__name__: one
    for one in (
        *(mlp, wide_mlp, lenet5, convolutions, resnet20, resnet),
        *(transformer, gpt, lstm, onnx, minilm),
    )
}


if __name__ == "__main__":
    sys.exit(main())
