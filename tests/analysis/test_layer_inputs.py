"""Moments of what layers are given, without gradients."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from taut.analysis import layer_inputs
from taut.analysis.layer_inputs import collect_inputs


def test_a_linear_layer_behind_another_sees_its_outputs():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    batches = [torch.randn(5, 4), torch.randn(7, 4)]
    found = collect_inputs(net, ["2.weight"], batches)["2.weight"]
    seen = torch.relu(net[0](torch.cat(batches))).detach().double().numpy()
    np.testing.assert_allclose(found.moment, seen.T @ seen / 12, rtol=1e-5, atol=1e-9)
    assert not found.swapped


def test_padding_does_not_count():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 3, bias=False)

        def forward(self, x, attention_mask):
            return self.map(x)

    x = torch.ones(1, 4, 3)
    x[0, 2:] = 100.0
    batch = {"x": x, "attention_mask": torch.tensor([[1, 1, 0, 0]])}
    found = collect_inputs(Net(), ["map.weight"], [batch])["map.weight"]
    np.testing.assert_array_equal(found.moment, np.ones((3, 3)))


def test_a_convolution_sees_patches_and_groups_are_left_out():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, groups=2))
    images = torch.randn(2, 2, 6, 6)
    found = collect_inputs(net, ["0.weight", "1.weight"], [images])
    assert found.keys() == {"0.weight"}
    rows = functional.unfold(images, 3, padding=1).transpose(1, 2).reshape(-1, 18).double()
    expected = (rows.T @ rows / len(rows)).numpy()
    np.testing.assert_allclose(found["0.weight"].moment, expected, rtol=1e-4, atol=1e-6)


def test_a_weight_of_the_first_axis_is_swapped():
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 5))

        def forward(self, x):
            return x @ self.weight

    found = collect_inputs(Product(), ["weight"], [torch.eye(3)])["weight"]
    assert found.swapped
    np.testing.assert_allclose(found.moment, np.eye(3) / 3, rtol=1e-6)


def test_a_weight_that_is_used_twice_is_left_out():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 3)

        def forward(self, x):
            return self.map(self.map(x))

    assert collect_inputs(Twice(), ["map.weight"], [torch.randn(2, 3)]) == {}


def test_weights_of_the_same_inputs_share_a_sum_and_lose_it_when_they_part():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)

        def forward(self, x, other=None):
            return self.a(x), self.b(x if other is None else other)

    net, x, y = Two(), torch.randn(4, 3), torch.randn(5, 3)
    names = ["a.weight", "b.weight"]
    found = collect_inputs(net, names, [{"x": x}, {"x": y}])
    both = torch.cat([x, y]).double().numpy()
    assert found["a.weight"].moment is found["b.weight"].moment
    np.testing.assert_allclose(found["a.weight"].moment, both.T @ both / 9, rtol=1e-5)
    found = collect_inputs(net, names, [{"x": x}, {"x": y, "other": 9 * y}])
    assert found.keys() == {"a.weight"}
    np.testing.assert_allclose(found["a.weight"].moment, both.T @ both / 9, rtol=1e-5)


def test_wide_sums_lie_in_files_beyond_a_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(layer_inputs, "MEMORY", 1000)
    net, batches = nn.Linear(1030, 1, bias=False), [torch.randn(3, 1030) for _ in range(2)]
    runs = [(one, lambda one=one: net(one)) for one in batches]
    found = layer_inputs.inputs_of({"w": net.weight}, runs, tmp_path)["w"].moment
    assert isinstance(found, np.memmap) and not [*tmp_path.iterdir()]  # it has no name
    rows = torch.cat(batches).double().numpy()
    np.testing.assert_allclose(found, rows.T @ rows / 6, rtol=1e-3, atol=1e-5)
