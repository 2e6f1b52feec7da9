"""Statistics are folded where a layer has its vectors to itself, and computes as torch does."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

from taut.training.fold import folded_statistics  # noqa: E402


class Shifted(nn.BatchNorm1d):
    """One that adds 1 to its weight, as some do."""

    def forward(self, x):
        weight = self.weight + 1
        return functional.batch_norm(x, self.running_mean, self.running_var, weight, self.bias)


def lived(*layers: nn.Module) -> nn.ModuleList:
    torch.manual_seed(0)
    for layer in layers:
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            tensor.data.uniform_(0.5, 2.0)
    return nn.ModuleList(layers).eval()


def test_folded_layers_give_what_they_gave():
    net, given = lived(nn.BatchNorm1d(4), nn.BatchNorm1d(4)), torch.randn(8, 4)
    net.append(net[1])  # a module under two names
    before = [layer(given) for layer in net]
    found = folded_statistics(net)
    assert {name.partition(".")[0] for name in found} == {"0", "1", "2"}
    net.load_state_dict(found, strict=False)
    for layer, wanted in zip(net, before, strict=True):
        assert torch.allclose(layer(given), wanted, atol=1e-5)


@pytest.mark.parametrize("what", ["weight", "bias", "running_mean", "running_var"])
def test_a_layer_that_shares_a_vector_is_left(what):
    net = lived(nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    setattr(net[1], what, getattr(net[0], what))
    assert {name.partition(".")[0] for name in folded_statistics(net)} == {"2"}


def test_a_vector_that_another_kind_of_layer_holds_is_left():
    net = lived(nn.BatchNorm1d(4))
    net.append(nn.Linear(4, 4))
    net[1].bias = net[0].bias
    net.append(nn.Identity())
    assert folded_statistics(net) == {}


def test_a_layer_of_its_own_making_is_left():
    own, patched = Shifted(4), nn.BatchNorm1d(4)
    patched.forward = lambda x: x
    bounded = nn.BatchNorm1d(4)
    net = lived(own, patched, bounded)
    parametrize.register_parametrization(bounded, "weight", nn.Softplus())
    assert folded_statistics(net) == {}
