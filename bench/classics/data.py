"""Trained classifiers with the images they are trained and judged on, and batches of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.subjects.subject import fill

_BATCH = 500  # of judging
_HELD = 20  # one image of so many is held out for choices


@dataclass(frozen=True)
class Split:
    """Images as uint8 (images, channels, h, w), and their labels as int64."""

    images: Tensor
    labels: Tensor

    def __getitem__(self, picked: slice | Tensor) -> Split:
        """Pick some images with their labels."""
        return Split(self.images[picked], self.labels[picked])

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)


@dataclass(frozen=True)
class Task:
    """A trained network with its data; `mean` and `deviation` are of pixels from 0 to 1.

    `file_bytes` is what the trained weights take as a file, header and running statistics included.
    `narrow` makes a network of half the width, of fresh weights that follow from a seed.
    """

    name: str
    about: str
    network: Callable[[], nn.Module]
    weights: dict[str, Tensor]
    train: Split
    test: Split
    mean: Tensor
    deviation: Tensor
    file_bytes: int
    narrow: Callable[[int], nn.Module] | None = None

    def trained(self) -> nn.Module:
        """Return the network with its trained weights, in eval mode."""
        network = self.network().eval()
        fill(network, {name: values.numpy() for name, values in self.weights.items()})
        # The layout that narrow layers train fastest in; it changes no byte of a file.
        spread: Callable[..., nn.Module] = network.to  # whose types do not know of layouts
        return spread(memory_format=torch.channels_last)

    @property
    def parameters(self) -> int:
        """Count what is trained; running statistics of norms are no parameters."""
        return sum(values.numel() for values in self.network().parameters())

    def pixels(self, images: Tensor) -> Tensor:
        """Turn uint8 images into what the network was trained on, in the fastest layout."""
        x = (images.float() / 255 - self.mean) / self.deviation
        return x.contiguous(memory_format=torch.channels_last)

    def error(self, network: nn.Module) -> float:
        """Return the percentage of test images whose class a network gets wrong."""
        network.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(self.test), _BATCH):
                part = self.test[start : start + _BATCH]
                logits = network(self.pixels(part.images))
                right += int(logits.argmax(1).eq(part.labels).sum())
        return 100 * (1 - right / len(self.test))

    def held(self) -> Task:
        """Return the task judged on a twentieth of its training images, which it then lacks.

        For choices of settings, so that the test images are for reporting alone. The trained
        weights have seen these images: only what is trained afterwards has not.
        """
        out = torch.arange(len(self.train)) % _HELD == 0
        return replace(self, train=self.train[~out], test=self.train[out])

    def thinned(self, thin: int) -> Task:
        """Return the task with every `thin`-th of its images."""
        step = slice(None, None, thin)
        return replace(self, train=self.train[step], test=self.test[step])


@dataclass(frozen=True)
class Epoch:
    """One pass over a task's training images in a seeded order, in pairs (x, y); `Batches` tells.

    Iterating again gives the same batches again.
    """

    task: Task
    size: int
    seed: int
    shift: int = 0
    flip: bool = False

    def __len__(self) -> int:
        """How many batches there are; what they leave over waits for another epoch."""
        return len(self.task.train) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.task.train), generator=random)
        for i in range(len(self)):
            picked = self.task.train[order[i * self.size : (i + 1) * self.size]]
            x = self.task.pixels(picked.images)
            yield moved(x, self.shift, self.flip, random), picked.labels


class Batches:
    """A fresh epoch each time it is called: another permutation, all following from `seed`.

    `shift` moves images by up to so many pixels either way, borders mirrored, and `flip` mirrors
    every second of them.
    """

    def __init__(
        self, task: Task, size: int, *, seed: int = 0, shift: int = 0, flip: bool = False
    ) -> None:
        self.first = Epoch(task, min(size, len(task.train)), seed << 20, shift, flip)
        self.given = 0

    def __call__(self) -> Epoch:
        """Give the next epoch."""
        self.given += 1
        return replace(self.first, seed=self.first.seed + self.given)


def moved(x: Tensor, shift: int, flip: bool, random: torch.Generator) -> Tensor:
    """Move each image of (images, channels, h, w) by itself, and mirror some."""
    if shift:
        h, w = x.shape[2:]
        padded = functional.pad(x, (shift,) * 4, mode="reflect")
        windows = padded.unfold(2, h, 1).unfold(3, w, 1)  # (images, channels, y, x, h, w)
        y, z = torch.randint(2 * shift + 1, (2, len(x)), generator=random)
        x = windows[torch.arange(len(x)), :, y, z]
    if flip:
        mirrored = torch.rand(len(x), generator=random) < 0.5
        x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    return x.contiguous(memory_format=torch.channels_last)
