"""Networks and data of unusual kinds: what is loaded is what was judged, or an error says why."""

from __future__ import annotations

import copy

import pytest

import laconic

torch = pytest.importorskip("torch")


class Watched:
    """A score that keeps the weights it was last asked about."""

    def __init__(self) -> None:
        self.seen: dict[str, torch.Tensor] = {}

    def __call__(self, module: torch.nn.Module) -> float:
        self.seen = {name: one.detach().clone() for name, one in module.state_dict().items()}
        return 1.0


def batches(*shape: int, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def loaded_as_judged(net, path, calib, **asked):
    """Compress, load into a copy, and compare with what was judged, to the bit."""
    watched = Watched()
    result = laconic.compress(net, path, calib=calib, evaluate=watched, **asked)
    copied = copy.deepcopy(net)
    laconic.load(path, into=copied)
    for name, one in copied.state_dict().items():
        assert torch.equal(one, watched.seen[name]), name
    return result, copied


def test_equal_matrices_in_two_places_come_out_alike(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Tanh())
    net = torch.nn.Sequential(layer, copy.deepcopy(layer), torch.nn.Linear(32, 64))
    _, copied = loaded_as_judged(net, tmp_path / "x", batches(16, 32), bits=4, finish=False)
    assert torch.equal(copied[0][0].weight, copied[1][0].weight)
    assert not torch.equal(copied[0][0].weight, net[0][0].weight)
