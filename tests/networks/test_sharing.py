"""Sharing is told by memory: never by name, never by value."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm  # noqa: E402

from taut.networks.copies import copy_module  # noqa: E402
from taut.networks.sharing import held_parameters, of_several_layers, overlapping  # noqa: E402


def pair() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})


def names(net: nn.Module) -> list[tuple[str, ...]]:
    return [one.names for one in held_parameters(net)]


def test_equal_values_are_not_shared():
    net = pair()
    net["b"].load_state_dict(net["a"].state_dict())
    assert names(net) == [("a.weight",), ("a.bias",), ("b.weight",), ("b.bias",)]
    assert overlapping(net) == {} and of_several_layers(net) == set()


def test_one_parameter_one_module_and_one_memory_are_shared_by_all_their_names():
    net = pair()
    net["b"].weight = net["a"].weight  # the parameter itself
    net["b"].bias = nn.Parameter(net["a"].bias.data)  # another parameter of the same memory
    net["c"] = net["a"]  # the module under a second name
    assert names(net) == [
        ("a.weight", "b.weight", "c.weight"),
        ("a.bias", "b.bias", "c.bias"),
    ]
    assert names(copy_module(net)) == names(net)
    assert of_several_layers(net) == {name for group in names(net) for name in group}


def test_one_layer_under_two_names_is_one_layer():
    net = nn.ModuleDict({"a": nn.Linear(4, 4)})
    net["again"] = net["a"]
    net.register_parameter("bias", net["a"].bias)  # listed once more, where no matrix is
    assert names(net) == [("bias", "a.bias", "again.bias"), ("a.weight", "again.weight")]
    assert of_several_layers(net) == set()


def test_memory_shared_in_part_is_told_from_that_which_lies_side_by_side():
    net = pair()
    net["b"].weight = nn.Parameter(net["a"].weight.data.t())
    rows = torch.randn(6, 4)
    net.register_parameter("upper", nn.Parameter(rows[:3]))
    net.register_parameter("lower", nn.Parameter(rows[3:]))
    columns = torch.randn(4, 6)
    net.register_parameter("left", nn.Parameter(columns[:, :3]))
    net.register_parameter("right", nn.Parameter(columns[:, 3:]))
    assert overlapping(net) == {"a.weight": "b.weight", "b.weight": "a.weight"}
    net.register_parameter("all", nn.Parameter(rows))
    assert overlapping(net) == {
        "a.weight": "b.weight",
        "b.weight": "a.weight",
        "all": "upper",
        "upper": "all",
        "lower": "all",
    }
    copied = copy_module(net)
    assert overlapping(copied) == overlapping(net)
    with torch.no_grad():
        copied.all.fill_(2.0)
    assert copied.lower.min() == copied.upper.min() == 2.0 and rows.max() != 2.0
    assert torch.equal(copied["b"].weight, net["b"].weight)


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm, orthogonal])
def test_what_is_done_to_the_class_of_a_copy_is_not_done_to_the_original(norm):
    layer = norm(nn.Linear(4, 4)).eval()
    before, given = dict(vars(type(layer))), torch.ones(2, 4)
    found = layer(given)
    for one in (copy_module(layer), copy_module(nn.Sequential(layer))[0]):
        assert torch.equal(one(given), found) and isinstance(one, nn.Linear)
        parametrize.register_parametrization(one, "bias", nn.Tanh(), unsafe=True)
        parametrize.remove_parametrizations(one, "weight")
        one(given)
        copy.deepcopy(one)(given)
    assert vars(type(layer)).keys() - before.keys() <= {"__slotnames__"}  # noted by copying
    assert torch.equal(layer(given), found)
