"""Batch norms folded into what comes before them: found by a run, and computing the same."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from taut.networks.fold_norms import fold_norms_  # noqa: E402
from taut.networks.norm_pairs import find_norms  # noqa: E402


def lived_in(module: nn.Module) -> nn.Module:
    """The module with norms that have seen something."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            size = part.running_mean.shape
            part.running_mean.copy_(torch.randn(size, generator=generator))
            part.running_var.copy_(torch.rand(size, generator=generator) * 4 + 0.01)
            part.weight.data.copy_(torch.randn(size, generator=generator))
            part.bias.data.copy_(torch.randn(size, generator=generator))
    return module.eval()


LAYERS = {
    "convolution": (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), (2, 3, 6, 6)),
    "in groups": (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), (2, 4, 6, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "signal": (nn.Conv1d(2, 4, 3, bias=False), nn.BatchNorm1d(4), (2, 2, 9)),
    "volume": (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4), (1, 2, 4, 4, 4)),
    "linear": (nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5), (3, 5)),
    "one output": (nn.Linear(5, 1), nn.BatchNorm1d(1), (3, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_folded_norm_is_an_identity_and_outputs_are_the_same(name: str) -> None:
    layer, norm, shape = LAYERS[name]
    net = lived_in(nn.Sequential(layer, norm))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    before = net(x)
    found = fold_norms_(net, x)
    assert found.biases == {"0.weight": "1.bias"}
    assert torch.allclose(net(x), before, atol=1e-5)
    assert norm.weight.unique().tolist() == norm.running_var.unique().tolist() == [1.0]
    assert not norm.running_mean.any() and (layer.bias is None or not layer.bias.any())


class _Read(nn.Module):
    """A convolution whose outputs, or whose weight, others than the norm read too."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.one = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "slices":
            weight = self.one.weight[:2]
            y = nn.functional.conv2d(x, weight)
            return self.norm(torch.cat([y, y[:, :1]], 1))
        y = self.one(x)
        if self.what == "between":
            return self.norm(y.relu())
        if self.what == "outputs":
            return self.norm(y) + y
        if self.what == "weight":
            return self.norm(y) + self.one.weight.sum()
        if self.what == "twice":
            return self.norm(self.norm(y))
        return self.norm(self.one(y))


@pytest.mark.parametrize("what", ["slices", "between", "outputs", "weight", "twice", "layer twice"])
def test_a_norm_that_is_not_alone_behind_its_weight_leaves_it(what: str) -> None:
    net = lived_in(_Read(what))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    before, weight = net(x), net.one.weight.clone()
    found = fold_norms_(net, x)
    assert not found.biases and torch.equal(net.one.weight, weight)
    assert torch.allclose(net(x), before, atol=1e-5)
    assert bool(found.values) == (what != "twice")  # statistics go into scale and shift


class _Standard(nn.Conv2d):
    """A convolution whose weight is brought to unit deviation first: a factor has no effect."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight / self.weight.std((1, 2, 3), keepdim=True))


def test_a_weight_that_is_changed_before_it_is_used_is_no_pair() -> None:
    net = lived_in(nn.Sequential(_Standard(3, 4, 3), nn.BatchNorm2d(4)))
    assert [one.weight for one in find_norms(net, torch.ones(1, 3, 5, 5))] == [None]


def test_what_must_not_be_changed_stays() -> None:
    net = lived_in(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()))
    weight = net[0].weight.clone()
    found = fold_norms_(net, torch.ones(1, 3, 5, 5), lambda name: not name.startswith("0."))
    assert not found.biases and torch.equal(net[0].weight, weight) and "1.weight" in found.values


def test_a_network_whose_outputs_hang_on_the_inside_is_left_as_it_was() -> None:
    class Told(nn.Sequential):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self[1](self[0](x)), self[0].weight

    net = lived_in(Told(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    state = {name: one.clone() for name, one in net.state_dict().items()}
    assert not fold_norms_(net, torch.ones(1, 3, 5, 5)).values
    assert all(torch.equal(one, state[name]) for name, one in net.state_dict().items())


def test_without_groups_scales_may_stay_where_they_are() -> None:
    plain = lived_in(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    deep = lived_in(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)))
    x = torch.ones(1, 4, 5, 5)
    assert not fold_norms_(plain, x, grouped=True).biases
    assert fold_norms_(deep, x, grouped=True).biases == {"0.weight": "1.bias"}
