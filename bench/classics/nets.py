"""The two networks that the literature prunes: fully connected, and Caffe's LeNet-5."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class LeNet300100(nn.Module):
    """784-300-100-10, 266,610 parameters (LeCun et al., 1998)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (images, 1, 28, 28) -> logits (images, 10)."""
        x = functional.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc3(functional.relu(self.fc2(x)))
        return logits


class LeNet5(nn.Module):
    """Caffe's 20-50-500-10, 431,080 parameters: no function between a convolution and its pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (images, 1, 28, 28) -> logits (images, 10)."""
        x = functional.max_pool2d(self.conv1(x), 2)
        x = functional.max_pool2d(self.conv2(x), 2)
        logits: Tensor = self.fc2(functional.relu(self.fc1(x.flatten(1))))
        return logits
