"""Small networks of real kinds, batches for them, and a score that tells how near a copy is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 256),
        torch.nn.ReLU(),
        torch.nn.LayerNorm(256),
        torch.nn.Linear(256, 96),
    )


def inputs(count: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(16, 64, generator=generator) for _ in range(count)]


class Closeness:
    """100 for the original's outputs, less for others; counts how often it was asked."""

    def __init__(self, original: torch.nn.Module, batches: list[torch.Tensor]) -> None:
        self.batches, self.calls, self.fail_at = batches, 0, 0
        self.seen: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            self.wanted = [original(x) for x in batches]

    @torch.no_grad()
    def __call__(self, module: torch.nn.Module) -> float:
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("the power went")
        self.seen = {name: one.detach().clone() for name, one in module.state_dict().items()}
        far = sum((module(x) - y).square().mean() for x, y in zip(self.batches, self.wanted))  # noqa: B905
        return 100 - 100 * float(far)


@pytest.fixture
def net() -> torch.nn.Sequential:
    return network()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return inputs()


@pytest.fixture
def score(net, batches) -> Closeness:
    return Closeness(net, batches)
