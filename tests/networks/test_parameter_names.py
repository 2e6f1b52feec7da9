"""Names of a file's tensors paired with those of a network: by name, by end, by value."""

import numpy as np
import pytest

from taut.io import open_source
from taut.networks.parameter_names import Names, map_names

torch = pytest.importorskip("torch")
nn = torch.nn


def net() -> "torch.nn.Module":
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.LayerNorm(4))
    return nn.ModuleDict({"tower": tower, "head": nn.Linear(4, 4)})


def arrays(module: "torch.nn.Module") -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def mapped(state: dict[str, np.ndarray], module: "torch.nn.Module") -> Names:
    return map_names(open_source(state), module)


def test_equal_names_are_paired_even_where_values_repeat() -> None:
    module = net()  # both layer norms begin with the same values
    names = mapped(arrays(module), module)
    assert names == Names({name: name for name in module.state_dict()}, (), ())


def test_a_longer_and_a_shorter_prefix() -> None:
    module = net()
    state = arrays(module)
    weight, bias = state["tower.0.weight"], state["tower.0.bias"]
    names = mapped({"bert.tower.0.weight": weight, "0.bias": bias}, module)
    assert names.found == {"bert.tower.0.weight": "tower.0.weight", "0.bias": "tower.0.bias"}
    assert names.missing == tuple(n for n in state if n not in names.found.values())


def test_values_decide_and_doubt_is_left_open() -> None:
    module = net()
    state = arrays(module)
    names = mapped(
        {
            "x.head.weight": state["head.weight"] + 1,  # not these values
            "head.bias": state["head.bias"][:2],  # not this shape
            "weight": state["tower.1.weight"],  # two layer norms have it
            "bias": state["tower.0.bias"],  # one layer has it
            "gone": state["head.weight"],
        },
        module,
    )
    assert names.found == {"bias": "tower.0.bias"}
    assert names.unmapped == ("x.head.weight", "head.bias", "weight", "gone")


def test_narrow_files_and_tied_weights() -> None:
    module = net()
    module["head"].weight = module["tower"][0].weight
    half = module.half()
    state = arrays(half)
    names = mapped({"tower.0.weight": state["tower.0.weight"]}, half.float())
    assert names.found == {"tower.0.weight": "tower.0.weight"}
    assert "head.weight" not in names.missing


def test_old_names_of_layer_norms() -> None:
    module = net()
    with torch.no_grad():
        module["tower"][1].weight.mul_(2)
    state = arrays(module)
    names = mapped({"bert.tower.1.gamma": state["tower.1.weight"]}, module)
    assert names.found == {"bert.tower.1.gamma": "tower.1.weight"}
