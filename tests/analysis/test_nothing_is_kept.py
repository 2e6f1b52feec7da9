"""What a pass computes goes when its batch is done, without waiting for Python's collector.

The collector counts objects, and a hidden state of gigabytes is one.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")

from taut.analysis import collect  # noqa: E402
from taut.analysis.layer_inputs import collect_inputs  # noqa: E402
from taut.networks.copies import copy_module  # noqa: E402


class Blocks(torch.nn.Module):
    """Three linear blocks and a head, which remember weakly what they gave."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(3))
        self.head = torch.nn.Linear(6, 4)
        self.gave: list[weakref.ref[torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = torch.relu(block(x))
            self.gave.append(weakref.ref(x))
        return self.head(x)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _inputs(network: Blocks, batches: list[torch.Tensor]) -> None:
    collect_inputs(network, [name for name, _ in network.named_parameters()], batches)


def _curvature(network: Blocks, batches: list[torch.Tensor]) -> None:
    names = {name for name, one in network.named_parameters() if one.ndim == 2}
    collect(network, lambda: batches, names=names)


def _copies(network: Blocks, batches: list[torch.Tensor]) -> None:
    for batch in batches:
        network(batch)
        copy_module(network.blocks)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("work", [_inputs, _curvature, _copies])
def test_no_hidden_state_outlives_its_batch(
    work: Callable[[Blocks, list[torch.Tensor]], None],
) -> None:
    network = Blocks()
    work(network, [torch.randn(3, 6) for _ in range(5)])
    assert len(network.gave) >= 15
    assert [one for one in network.gave if one() is not None] == []
