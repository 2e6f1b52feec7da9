"""ResNet-20 on CIFAR-10 as a classic, and a network of half its width to be taught."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import nn

from bench.classics.data import Split, Task
from bench.data.assets import asset
from bench.subjects.images import DEVIATION, MEAN, Block, Network, decoded_images, norm


class HalfNetwork(Network):
    """ResNet-20 of half the width: 8, 16 and 32 channels, 68,050 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = norm(8)
        self.layer1 = nn.Sequential(*(Block(8, 8) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(8, 16), Block(16, 16), Block(16, 16))
        self.layer3 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.linear = nn.Linear(32, 10)


def half_network(seed: int) -> HalfNetwork:
    """Return the narrow network with weights to start from (He et al., 2015)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HalfNetwork()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network


def resnet20() -> Task:
    """Build the task: all images, decoded once into memory (185 MB)."""
    path = asset("cifar10/resnet20_jpegft.safetensors")
    train, test = _split("train"), _split("test")
    return Task(
        "resnet20",
        "ResNet-20, CIFAR-10 (recompressed images)",
        Network,
        load_file(path),
        train,
        test,
        MEAN,
        DEVIATION,
        path.stat().st_size,
        half_network,
    )


def _split(part: str) -> Split:
    images, labels = decoded_images(part, None)
    return Split(torch.from_numpy(images).permute(0, 3, 1, 2), labels)
