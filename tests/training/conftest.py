"""A small classifier that has learnt its task, its data, and its score."""

from __future__ import annotations

import functools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402


def inputs(seed: int, count: int = 192) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around four centres, in 20 dimensions."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.randn(4, 20, generator=generator)
    generator.manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    return centres[labels] + 0.9 * torch.randn(count, 20, generator=generator), labels


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 48), nn.BatchNorm1d(48), nn.ReLU())
    net.add_module("hidden", nn.Linear(48, 48))
    net.add_module("act", nn.ReLU())
    net.add_module("fc", nn.Linear(48, 4))
    return net


@functools.cache
def _learnt() -> dict[str, torch.Tensor]:
    net, (x, y) = network(), inputs(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.state_dict()


@pytest.fixture
def net() -> nn.Sequential:
    found = network()
    found.load_state_dict(_learnt())
    return found.eval()


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, y = inputs(0)
    return list(zip(x.split(32), y.split(32), strict=True))


@pytest.fixture
def score():
    x, y = inputs(1)
    return lambda net: float((net(x).argmax(1) == y).float().mean())
