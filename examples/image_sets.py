"""The two tasks of the example: CIFAR-10 from a folder, or digits that need no download."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from residual_network import ResNet, train
from torch import Tensor, nn

CIFAR10 = ("cifar10/resnet20_jpegft.safetensors", "cifar10/cifar10_jpeg.npz")
"""What `cifar10` reads: weights, and JPEG files in an archive with their offsets and labels."""

CLASSES = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CALIBRATION = 512  # images; some hundred serve


@dataclass(frozen=True)
class Pictures:
    """Images as the network takes them, (n, channels, h, w), their labels, and what these mean."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __getitem__(self, part: slice) -> Pictures:
        return Pictures(self.images[part], self.labels[part], self.classes)


@dataclass(frozen=True)
class Task:
    """A trained network, images to calibrate with, to choose by, and to judge by in the end.

    No image is in two of the three: what is reported was not looked at before.
    """

    about: str
    net: nn.Module
    calibration: tuple[Tensor, ...]
    choice: Pictures
    test: Pictures

    def thinned(self) -> Task:
        """Few images of each, for a quick try."""
        few = self.choice[:100], self.test[:300]
        return Task(self.about, self.net, self.calibration[:2], *few)


def cifar10(folder: Path) -> Task:
    """ResNet-20, trained, and CIFAR-10 as JPEG, from `cifar10/` in a folder."""
    from safetensors.torch import load_file

    net = ResNet()
    net.load_state_dict(load_file(folder / CIFAR10[0]))
    seen = _decoded(folder / CIFAR10[1], "train", _CALIBRATION + 2000)
    return Task(
        "CIFAR-10: ResNet-20 on photographs of 32x32 pixels, 10 classes",
        net.eval(),
        seen.images[:_CALIBRATION].split(64),
        seen[_CALIBRATION:],
        _decoded(folder / CIFAR10[1], "test", 10_000),
    )


def digits(epochs: int) -> Task:
    """ResNet-8, trained here, and the handwritten digits that come with scikit-learn."""
    from sklearn.datasets import load_digits

    pixels, names = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))  # writers come one after the other
    images = torch.from_numpy(pixels[order] / 8 - 1).float().reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(names[order]).long()
    found = Pictures(images, labels, tuple("0123456789"))
    torch.manual_seed(0)
    net = ResNet(channels=1, blocks=1)
    train(net, images[:900], labels[:900], epochs)
    return Task(
        "digits: ResNet-8 on handwritten digits of 8x8 pixels (scikit-learn's), trained just now",
        net,
        images[:_CALIBRATION].split(64),
        found[900:1200],
        found[1200:],
    )


def _decoded(archive: Path, split: str, count: int) -> Pictures:
    """The first images of a split, normalised as the network was trained."""
    from PIL import Image

    with np.load(archive) as held:
        ends, labels = held[f"{split}_offsets"], held[f"{split}_labels"][:count]
        jpegs = held[f"{split}_jpeg"].tobytes()
    opened = (io.BytesIO(jpegs[ends[i] : ends[i + 1]]) for i in range(count))
    pixels = np.stack([np.asarray(Image.open(jpeg).convert("RGB")) for jpeg in opened])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    images = ((scaled - mean) / deviation).contiguous()
    return Pictures(images, torch.from_numpy(labels.astype(np.int64)), CLASSES)
