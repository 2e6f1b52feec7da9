"""Moments of what layers are given, without gradients."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

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
