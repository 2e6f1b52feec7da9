"""Copies of networks that keep more than weights."""

import threading
from collections.abc import Callable

import pytest

from taut.errors import ArgumentError
from taut.networks.copies import copy_module

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.linspace(-1, 1, 24).reshape(3, 8)


def _kept_activation() -> "torch.nn.Module":
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[0].seen = net(X)
    return net


def _nested_activation() -> "torch.nn.Module":
    net = nn.Sequential(nn.Linear(8, 8))
    net[0].seen = {"maps": [(net(X), 1)]}
    net[0].row = net[0].seen["maps"][0][0][0]  # shares its memory
    return net


def _pruned() -> "torch.nn.Module":
    net = nn.Sequential(nn.Linear(8, 8))
    from torch.nn.utils import prune

    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


def _parametrized() -> "torch.nn.Module":
    net = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    net[0].seen = net[0].weight
    return net


@pytest.mark.parametrize(
    "build", [_kept_activation, _nested_activation, _pruned, _parametrized]
)  # fmt: skip
def test_a_tensor_with_a_graph_does_not_keep_a_network_from_being_copied(
    build: Callable[[], "torch.nn.Module"],
) -> None:
    net = build()
    copy = copy_module(net)
    assert torch.equal(copy(X), net(X))
    want = net(X).detach()
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.fill_(2.0)
    assert torch.equal(net(X), want)
    assert not torch.equal(copy(X), want)


def test_what_shared_memory_shares_it_in_the_copy() -> None:
    copy = copy_module(_nested_activation())
    ((whole, _),) = copy[0].seen["maps"]
    assert copy[0].row.data_ptr() == whole.data_ptr()
    assert not whole.requires_grad


@pytest.mark.parametrize("part", ["", "1"])
def test_the_attribute_that_cannot_be_copied_is_named(part: str) -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net.get_submodule(part).config = {"deep": [threading.Lock()]}
    name = f"{part}.config".lstrip(".")
    with pytest.raises(ArgumentError, match=f'Sequential cannot be copied .*attribute "{name}"'):
        copy_module(net)


def test_gradients_of_a_copy_pass_the_hooks_of_the_original():
    layer = torch.nn.Linear(2, 2)
    still = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    layer.weight.register_hook(lambda gradient: gradient * still)
    stepped = []
    layer.bias.register_post_accumulate_grad_hook(lambda bias: stepped.append(bias))
    copied = copy_module(copy_module(layer))
    copied(torch.ones(1, 2)).sum().backward()
    assert torch.equal(copied.weight.grad, still) and copied.bias.grad.all()
    assert layer.weight.grad is None and stepped == []
    copy_module(layer.requires_grad_(False))
