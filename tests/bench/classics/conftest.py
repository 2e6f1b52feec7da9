"""A task of the classics that takes no data: forty images, the pixels of each its number."""

import pytest


@pytest.fixture
def tiny():
    """Images of which every pixel is the image's number; odd ones are of class 1."""
    torch = pytest.importorskip("torch")
    from bench.classics.data import Split, Task

    def linear():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2))

    def narrow(seed):
        torch.manual_seed(seed)
        return linear()

    numbers = torch.arange(40)
    images = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 6, 6)
    split = Split(images, numbers % 2)
    weights = {"1.weight": torch.zeros(2, 36), "1.bias": torch.tensor([1.0, 0.0])}
    plain = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return Task("tiny", "tiny", linear, weights, split, split, *plain, 500, narrow)
