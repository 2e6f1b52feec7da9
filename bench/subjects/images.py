"""ResNet-20 on CIFAR-10 as a subject (He et al., 2016; shortcuts of option A)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from PIL import Image  # type: ignore[import-not-found,unused-ignore]
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional

from bench.data.assets import asset
from bench.data.draws import places
from bench.data.tensors import Array
from bench.subjects.subject import Asked, Subject, fill

_BATCH = 100
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # the weights were trained with these
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class Block(nn.Module):
    """Two convolutions beside a shortcut that drops pixels and pads channels: no weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.added = (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(images, inputs, h, w) -> (images, outputs, h / stride, w / stride)."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(y + functional.pad(x, (0, 0, 0, 0, self.added, self.added)))


class Network(nn.Module):
    """Three stages of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = norm(16)
        self.layer1 = _stage(16, 16)
        self.layer2 = _stage(16, 32)
        self.layer3 = _stage(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (images, 3, 32, 32) -> logits (images, 10)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class ResNet20(Subject):
    """The weights fine-tuned to the recompressed images; all 10,000 test images."""

    name = network = "resnet20"
    about = "ResNet-20 on CIFAR-10; calibrated on 512 unlabelled training images"
    measures: ClassVar = {
        "lost": "points lost",
        "accuracy": "accuracy, %",
        "kl": "KL of logits, nats",
    }
    floor = 0.03
    asked = (Asked(3.0, 0.3), Asked(2.3, 1.0))

    def __init__(self, thin: int = 1) -> None:
        self.weights = dict(load_file(asset("cifar10/resnet20_jpegft.safetensors")))
        images, _ = decoded_images("train", 512)
        self.calibration = [_normalised(part) for part in np.split(images, 8)]
        images, labels = decoded_images("test", None)
        self._images, self._labels = images[::thin], labels[::thin]
        self._judged = Network().eval()
        self._reference = self._logits(self.weights)

    def module(self) -> nn.Module:
        """Return the network with the original weights."""
        network = Network().eval()
        fill(network, self.weights)
        return network

    def fidelity(self, weights: Mapping[str, Array]) -> dict[str, float]:
        """Return points of accuracy lost, the accuracy, and KL(original, this) of the classes."""
        logits = self._logits(weights)
        before, after = self._accuracy(self._reference), self._accuracy(logits)
        kl = functional.kl_div(
            logits.log_softmax(1),
            self._reference.log_softmax(1),
            log_target=True,
            reduction="batchmean",
        )
        return {"lost": before - after, "accuracy": after, "kl": float(kl)}

    def _accuracy(self, logits: Tensor) -> float:
        return 100 * float((logits.argmax(1) == self._labels).double().mean())

    def _logits(self, weights: Mapping[str, Array]) -> Tensor:
        fill(self._judged, weights)
        with torch.inference_mode():
            return torch.cat([self._judged(_layout(part)) for part in self._parts()])

    def _parts(self) -> list[Array]:
        return [self._images[i : i + _BATCH] for i in range(0, len(self._images), _BATCH)]


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs), Block(outputs, outputs), Block(outputs, outputs))


def norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm without the counter for training, which the file does not have."""
    made = nn.BatchNorm2d(channels)
    made.num_batches_tracked = None
    return made


def _normalised(images: Array) -> Tensor:
    """Turn uint8 (images, 32, 32, 3) into float32 (images, 3, 32, 32) of unit scale."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return ((pixels - MEAN) / DEVIATION).contiguous()


def _layout(images: Array) -> Tensor:
    """Normalise images, in the layout that a processor convolves these narrow layers fastest in."""
    return _normalised(images).to(memory_format=torch.channels_last)


@cache
def decoded_images(split: str, count: int | None) -> tuple[Array, Tensor]:
    """Decode `count` images of a split, drawn at random, or all in their order; and labels."""
    with np.load(asset("cifar10/cifar10_jpeg.npz")) as held:
        ends, data = held[f"{split}_offsets"], held[f"{split}_jpeg"].tobytes()
        labels = torch.from_numpy(held[f"{split}_labels"].astype(np.int64))
    total = len(ends) - 1
    chosen = list(range(total)) if count is None else places(total, count)
    jpegs = (data[ends[i] : ends[i + 1]] for i in chosen)
    decoded = [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs]
    return np.stack(decoded), labels[chosen]
