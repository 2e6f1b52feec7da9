"""A residual network for small images (He et al., 2016), and how it is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH = 50


class Block(nn.Module):
    """Two convolutions beside a shortcut that drops pixels and pads channels: no weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.added = (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            x = x[:, :, ::2, ::2]
            x = functional.pad(x, (0, 0, 0, 0, self.added, self.added))
        return functional.relu(x + y)


class ResNet(nn.Module):
    """Three stages of `blocks` blocks, of 16, 32 and 64 channels: `blocks=3` is ResNet-20."""

    def __init__(self, channels: int = 3, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, channels, h, w) -> logits (n, classes)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def train(net: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Train from scratch; leaves the network in eval mode."""
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(net.parameters())
    steps = epochs * -(-len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    net.train()
    for _ in range(epochs):
        for picked in torch.randperm(len(images), generator=random).split(_BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(images[picked]), labels[picked]).backward()
            optimiser.step()
            schedule.step()
    net.eval()


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    later = (Block(outputs, outputs) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, outputs), *later)
