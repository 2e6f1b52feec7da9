"""Curvature on a device is the curvature, and nothing of it is left where it does not belong."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", "5")

from tests.analysis.test_streamed import batches_for, network_of, same  # noqa: E402
from tests.pretend_device import PRETENDED, MixedError, pretended  # noqa: E402

from taut.analysis import collect  # noqa: E402

SLOW = pytest.mark.slow("every operation is looked at")


class Convolved(torch.nn.Module):
    """Convolutions, a norm over batches, and a head: no blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(8, 8, 3, groups=2)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.first(images)))
        return self.head(torch.relu(self.second(hidden)).mean((2, 3)))


class Recurrent(torch.nn.Module):
    """An embedding, an LSTM, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8)
        self.lstm = torch.nn.LSTM(8, 12, batch_first=True)
        self.head = torch.nn.Linear(12, 20)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(ids))[0])


def made(kind: str) -> tuple[torch.nn.Module, list[object]]:
    torch.manual_seed(0)
    if kind == "convolved":
        return Convolved().eval(), [torch.randn(2, 3, 8, 8) for _ in range(2)]
    if kind == "recurrent":
        return Recurrent().eval(), [torch.randint(0, 20, (2, 7)) for _ in range(2)]
    network = network_of(kind)
    return (network.bfloat16() if kind == "mixtral" else network), list(batches_for(kind, 2))


@pytest.mark.parametrize(
    "kind",
    [
        *("convolved", "recurrent", "llama", "bert"),
        *(pytest.param(kind, marks=SLOW) for kind in ("bart", "mixtral", "t5", "vit")),
    ],
)
def test_the_curvature_is_the_same_there(kind: str) -> None:
    network, batches = made(kind)
    known = collect(network, lambda: batches)
    before = [id(one) for one in network.parameters()]
    with pretended() as places:
        found = collect(network, lambda: batches, device=str(PRETENDED))
        assert all(one.device.type == "cpu" for one in network.parameters())
    assert places.moved >= sum(one.nbytes for one in network.parameters() if one.ndim > 1)
    assert [id(one) for one in network.parameters()] == before
    same(found, known)


def test_what_is_left_behind_is_noticed() -> None:
    with pretended():
        there = torch.ones(3, 4).to(PRETENDED)
        assert (there + 1).device == there[0].device == PRETENDED
        with pytest.raises(MixedError):
            there + torch.ones(3, 4)
        with pytest.raises(TypeError):
            np.asarray(there)
        assert (there.cpu() + torch.ones(3, 4)).numpy().max() == 2
