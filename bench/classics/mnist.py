"""LeNet-300-100 and LeNet-5 on MNIST as classics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from bench.classics.data import Split, Task
from bench.classics.nets import LeNet5, LeNet300100
from bench.data.assets import asset


def lenet(name: str) -> Task:
    """Build the task `lenet300` or `lenet5`; RuntimeError where its data are missing."""
    network: Callable[[], nn.Module] = LeNet5 if name == "lenet5" else LeNet300100
    with np.load(asset("mnist/mnist.npz")) as held:
        train, test = (_split(held[f"x_{part}"], held[f"y_{part}"]) for part in ("train", "test"))
    about = "LeNet-5 (Caffe), MNIST" if name == "lenet5" else "LeNet-300-100, MNIST"
    path = asset(f"mnist/{'lenet5' if name == 'lenet5' else 'lenet300100'}.safetensors")
    plain = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    size = path.stat().st_size
    return Task(name, about, network, load_file(path), train, test, *plain, size)


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))
