"""A MobileNet-like network on CIFAR-10: depthwise convolutions and a norm behind each of them.

    python -m bench.subjects.mobile FILE [--epochs 10]

trains it from nothing on the recompressed images and writes its weights, in some ten minutes of one
core. Sandler et al., 2018: inverted residuals, expanded four times.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from bench.subjects.images import DEVIATION, MEAN, decoded_images

_STAGES = ((24, 1), (32, 2), (32, 1), (64, 2), (64, 1), (96, 1), (96, 1), (128, 2))
_BATCH, _RATE, _DECAY = 128, 0.15, 5e-4


def _normed(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class InvertedResidual(nn.Module):
    """Channels expanded, each filtered by itself, and brought down again."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.expand = _normed(inputs, wide, 1)
        self.filter = _normed(wide, wide, 3, stride, wide)
        self.project = _normed(wide, outputs, 1)
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(images, inputs, h, w) -> (images, outputs, h / stride, w / stride)."""
        y = functional.relu6(self.filter(functional.relu6(self.expand(x))))
        y = self.project(y)
        return x + y if self.shortcut else y


class MobileNetwork(nn.Module):
    """A stem, eight inverted residuals, and a head as torchvision has it."""

    def __init__(self) -> None:
        super().__init__()
        blocks, inputs = [], 24
        for outputs, stride in _STAGES:
            blocks.append(InvertedResidual(inputs, outputs, stride))
            inputs = outputs
        self.stem = _normed(3, 24, 3, 2)
        self.blocks = nn.Sequential(*blocks)
        self.last = _normed(inputs, 384, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(384, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (images, 3, 32, 32) -> logits (images, 10)."""
        x = functional.relu6(self.last(self.blocks(functional.relu6(self.stem(x)))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def normalised(images: Tensor) -> Tensor:
    """uint8 (images, 3, 32, 32) -> float32 of unit scale."""
    return ((images.float() / 255 - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)


def trained(epochs: int, seed: int = 0) -> MobileNetwork:
    """The network after so many rounds over the training images, flipped and shifted by chance."""
    torch.manual_seed(seed)
    pixels, labels = decoded_images("train", None)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    network = MobileNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        network.parameters(), _RATE, momentum=0.9, nesterov=True, weight_decay=_DECAY
    )
    total = epochs * (len(images) // _BATCH)
    warm = max(1, total // 20)

    def height(step: int) -> float:
        return min(step / warm, (1 + math.cos(math.pi * step / total)) / 2)

    course = torch.optim.lr_scheduler.LambdaLR(optimiser, height)
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(images))
        lost = 0.0
        for begin in range(0, len(images) - _BATCH + 1, _BATCH):
            some = order[begin : begin + _BATCH]
            loss = functional.cross_entropy(network(_moved(images[some])), labels[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            course.step()
            lost += loss.item()
        print(f"epoch {epoch + 1}: loss {lost / (len(images) // _BATCH):.3f}", flush=True)
    return network.eval()


def _moved(images: Tensor) -> Tensor:
    """Images flipped and shifted by up to four pixels, a batch alike, which is fast."""
    if torch.rand(()) < 0.5:
        images = images.flip(3)
    across, down = (int(one) for one in torch.randint(0, 9, (2,)))
    padded = functional.pad(images, (4, 4, 4, 4))
    return normalised(padded[:, :, down : down + 32, across : across + 32])


@torch.inference_mode()
def accuracy(network: nn.Module, thin: int = 1) -> float:
    """Percent of the test images that are told right."""
    pixels, labels = decoded_images("test", None)
    images = torch.from_numpy(pixels[::thin]).permute(0, 3, 1, 2)
    told = torch.cat([network(normalised(part)).argmax(1) for part in images.split(200)])
    return 100 * float((told == labels[::thin]).double().mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write the weights."""
    arguments = command_line().parse_args(argv)
    network = trained(arguments.epochs)
    state = {name: one.contiguous() for name, one in network.state_dict().items()}
    save_file(state, arguments.file)
    print(f"{accuracy(network):.2f} % of the test images")


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Train a MobileNet-like network on CIFAR-10.")
    parser.add_argument("file", type=Path, help="where its weights go")
    parser.add_argument("--epochs", type=int, default=10)
    return parser


if __name__ == "__main__":
    main()
