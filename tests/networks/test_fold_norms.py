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
    found = fold_norms_(net, [x])
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
    found = fold_norms_(net, [x])
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
    found = fold_norms_(net, [torch.ones(1, 3, 5, 5)], lambda name: not name.startswith("0."))
    assert not found.biases and torch.equal(net[0].weight, weight) and "1.weight" in found.values


@pytest.mark.parametrize("part", [0, 1])
def test_what_outputs_tell_of_the_inside_is_left_as_it_was(part: int) -> None:
    class Told(nn.Sequential):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self[1](self[0](x)), self[part].weight

    net = lived_in(Told(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    x = torch.randn(2, 3, 5, 5)
    state, before = {name: one.clone() for name, one in net.state_dict().items()}, net(x)
    found = fold_norms_(net, [x])
    assert not found.biases and bool(found.values) == (part == 0)
    for one, known in zip(net(x), before, strict=True):
        assert torch.allclose(one, known, atol=1e-5)
    if part == 1:
        assert found.note.startswith("batch norms stay as they are")
        assert all(torch.equal(one, state[name]) for name, one in net.state_dict().items())


def test_without_groups_scales_may_stay_where_they_are() -> None:
    plain = lived_in(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    deep = lived_in(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)))
    x = torch.ones(1, 4, 5, 5)
    assert not fold_norms_(plain, [x], grouped=True).biases
    assert fold_norms_(deep, [x], grouped=True).biases == {"0.weight": "1.bias"}


class _Domains(nn.Module):
    """A convolution that leads to one of two norms, or to none, as the batch says."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        y = self.one(x)
        return self.norms[int(domain[0])](y) if domain[0] < 2 else y


@pytest.mark.parametrize("domains", [[0, 1], [0, 0, 0, 1], [0, 2], [0], [1, 1]])
def test_a_weight_that_leads_elsewhere_for_other_inputs_is_left(domains: list[int]) -> None:
    """Whether the other inputs are among those that are looked at, or not."""
    net = lived_in(_Domains())
    batches = [(torch.randn(2, 3, 4, 4), torch.full((2,), one)) for one in domains]
    every = [(torch.randn(2, 3, 4, 4), torch.full((2,), one)) for one in range(3)]
    before = [net(*one) for one in every]
    found = fold_norms_(net, batches)
    assert not found.biases
    for known, one in zip(before, every, strict=True):
        assert torch.allclose(net(*one), known, atol=1e-5)


def test_norms_that_no_run_reaches_leave_those_of_other_widths_alone() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.unused = nn.BatchNorm2d(5)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.one(x))

    found = fold_norms_(lived_in(Beside()), [torch.randn(2, 3, 4, 4)])
    assert found.biases == {"one.weight": "norm.bias"}


def test_a_network_that_goes_another_way_for_more_samples_is_left() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            return self.norm(y) if len(x) > 1 else y

    net = lived_in(Counts())
    x = torch.randn(2, 3, 4, 4)
    before = net(x), net(x[:1])
    assert not fold_norms_(net, [x]).biases
    assert torch.allclose(net(x), before[0], atol=1e-5)
    assert torch.equal(net(x[:1]), before[1])
